"""MIB tables are read as the kernel writes them, and refused where it would not write them so."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.namespace import Namespace
from otel_netagent.kernel.proc import files, mib_tables
from otel_netagent.kernel.proc.files import MalformedTable

counters = st.integers(min_value=0, max_value=2**64 - 1)
words = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", min_size=1, max_size=12)


@pytest.mark.parametrize("table", ["snmp", "netstat"])
def test_every_counter_of_the_kernel_is_read(table: str) -> None:
    text = files.read_net(os.getpid(), table)
    assert text is not None
    mibs = mib_tables.parse_mib_pairs(text, table)
    names = [line.split() for line in text.splitlines()[::2]]
    assert [[f"{protocol}:", *mibs[protocol]] for protocol in mibs] == names


def test_the_counters_are_those_of_the_namespace(netns: Namespace) -> None:
    receiver = netns.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender = netns.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind(("127.0.0.1", 0))
        for _ in range(3):
            sender.sendto(b"x", receiver.getsockname())
            receiver.recv(1)
    mibs = mib_tables.parse_mib_pairs(files.read_net(netns.pid, "snmp") or "")
    assert (mibs["Udp"]["OutDatagrams"], mibs["Udp"]["InDatagrams"]) == (3, 3)
    assert mibs["Tcp"]["MaxConn"] == -1


@given(st.lists(st.tuples(words, st.dictionaries(words, counters | st.just(-1), min_size=1)), max_size=6))
def test_any_table_is_read_back(blocks: list[tuple[str, dict[str, int]]]) -> None:
    text = "".join(
        f"{protocol}: {' '.join(values)}\n{protocol}: {' '.join(map(str, values.values()))}\n"
        for protocol, values in blocks
    )
    expected: dict[str, dict[str, int]] = {}
    for protocol, values in blocks:  # the kernel repeats a protocol: IcmpMsg, 16 types at a time
        expected.setdefault(protocol, {}).update(values)
    assert mib_tables.parse_mib_pairs(text) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Tcp: A B\n", 2),
        ("Tcp: A B\nUdp: 1 2\n", 2),
        ("Tcp: A\nTcp: 1\nUdp: A B\nUdp: 1\n", 4),
        ("Tcp: A\nTcp: 1\nUdp: A B\nUdp: 1 2 3\n", 4),
        ("Tcp: A\nTcp: one\n", 2),
    ],
)
def test_a_malformed_mib_table_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(MalformedTable, match=f"^/proc/7/net/snmp, line {line}: "):
        mib_tables.parse_mib_pairs(text, "/proc/7/net/snmp")


@given(st.text())
def test_no_text_breaks_the_mib_parser(text: str) -> None:
    with contextlib.suppress(MalformedTable):
        mib_tables.parse_mib_pairs(text)


# --- snmp6


names = st.from_regex(r"[A-Z][A-Za-z0-9]*", fullmatch=True).filter(lambda name: "6" not in name)
tables = st.dictionaries(
    st.sampled_from(["Ip6", "Icmp6", "Udp6", "UdpLite6"]), st.dictionaries(names, st.integers(0, 2**64 - 1), min_size=1)
)


@given(tables)
def test_any_snmp6_table_is_read_back(counted: dict[str, dict[str, int]]) -> None:
    rows = ((protocol + name, value) for protocol, counters in counted.items() for name, value in counters.items())
    assert mib_tables.parse_snmp6("".join(f"{name:<32}\t{value}\n" for name, value in rows)) == counted


@pytest.mark.parametrize("line", ["Ip6InReceives\n", "Ip6InReceives x\n", "InReceives 1\n", "\n"])
def test_a_malformed_snmp6_table_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(MalformedTable, match=r"^snmp6, line 2: "):
        mib_tables.parse_snmp6("Ip6InReceives \t1\n" + line, "snmp6")


@given(st.text())
def test_no_text_breaks_the_snmp6_parser(text: str) -> None:
    with contextlib.suppress(MalformedTable):
        mib_tables.parse_snmp6(text)
