"""Interfaces are read as the kernel counts them, whatever their names."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.namespace import Namespace
from lab.waiting import eventually
from otel_netagent.kernel.proc import files, net_dev
from otel_netagent.kernel.proc.files import MalformedTable
from otel_netagent.kernel.proc.net_dev import NetDev

counters = st.integers(min_value=0, max_value=2**64 - 1)
interface_names = st.text(
    # dev_valid_name in net/core/dev.c: no slash, no white space; the colon is refused only by newer kernels.
    st.characters(codec="utf-8", exclude_characters="/ \t\n\v\f\r\xa0\x85\0"),
    min_size=1,
    max_size=15,
).filter(lambda name: name not in (".", ".."))


def test_interfaces_are_read_as_the_kernel_counts_them(netns: Namespace) -> None:
    netns.command("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x@é=1")
    netns.command("ip", "link", "set", "eth0", "up")
    netns.command("ip", "link", "set", "x@é=1", "up")
    netns.command("ip", "address", "add", "192.0.2.4/24", "dev", "eth0")
    with netns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"to myself, over lo", ("192.0.2.4", 9))
        sender.sendto(b"to nobody, asked for by ARP", ("192.0.2.5", 9))
    readings = eventually(lambda: _of_one_moment(netns))
    assert readings is not None
    text, truth = readings
    assert truth["lo"].rx_packets > 0
    assert truth["eth0"].tx_packets > 0
    del truth["lo"]
    assert net_dev.parse_net_dev(text) == truth


def _of_one_moment(netns: Namespace) -> tuple[str, dict[str, NetDev]] | None:
    """The table, and what `ip` says; None when the kernel sent something of its own (MLD) between the readings."""
    before = _as_ip_says(netns)
    text = files.read_net(netns.pid, "dev")
    assert text is not None
    return (text, before) if _as_ip_says(netns) == before else None


def _as_ip_says(netns: Namespace) -> dict[str, NetDev]:
    return {
        link["ifname"]: NetDev(
            *(link["stats64"]["rx"][name] for name in ("bytes", "packets", "errors", "dropped")),
            *(link["stats64"]["tx"][name] for name in ("bytes", "packets", "errors", "dropped")),
        )
        for link in json.loads(netns.command("ip", "-json", "-statistics", "link"))
    }


def test_loopback_is_left_out(netns: Namespace) -> None:
    assert net_dev.parse_net_dev(files.read_net(netns.pid, "dev") or "") == {}


@given(
    devices=st.dictionaries(interface_names | st.just("lo"), st.lists(counters, min_size=16, max_size=16), max_size=4),
    columns=st.permutations(["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"]),
    space=st.sampled_from(["", " "]),
)
def test_any_net_dev_table_is_read_back(devices: dict[str, list[int]], columns: list[str], space: str) -> None:
    header = f"Inter-|   Receive  |  Transmit\n face |{' '.join(columns)}|{' '.join(columns)}\n"
    rows = (f"{name:>6}:{space}{' '.join(map(str, values))}\n" for name, values in devices.items())
    text = header + "".join(rows)
    wanted = [columns.index(name) for name in ("bytes", "packets", "errs", "drop")]
    expected = {
        name: NetDev(*(values[at] for at in wanted), *(values[8 + at] for at in wanted))
        for name, values in devices.items()
    }
    expected.pop("lo", None)
    assert net_dev.parse_net_dev(text) == expected


HEADER = "Inter-| Receive | Transmit\n face |bytes packets errs drop|bytes packets errs drop\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 2),
        ("Inter-| Receive | Transmit\n", 2),
        ("Inter-| Receive | Transmit\n face |bytes|bytes packets errs drop\n", 2),
        (HEADER + "eth0: 1 2 3 4 5 6 7 8\neth1: 1 2 3\n", 4),
        (HEADER + "eth0: 1 2 3 4 5 6 7 x\n", 3),
        (HEADER + "\n", 3),
    ],
)
def test_a_malformed_net_dev_table_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(MalformedTable, match=f"^/proc/7/net/dev, line {line}: "):
        net_dev.parse_net_dev(text, "/proc/7/net/dev")


@given(st.text() | st.text().map(HEADER.__add__))
def test_no_text_breaks_the_net_dev_parser(text: str) -> None:
    with contextlib.suppress(MalformedTable):
        net_dev.parse_net_dev(text)
