"""Connection tracking is told for each namespace, as conntrack(8) tells it there."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.links import Pair
from lab.namespace import Namespace
from lab.sockets import datagram
from lab.truth import Family
from otel_netagent.kernel.proc import files
from otel_netagent.kernel.proc.conntrack import Conntrack, parse_conntrack
from otel_netagent.kernel.proc.files import MalformedTable
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import conntrack
from otel_netagent.probing.attach import Unavailable
from tests.probes.collected import Collected, changes, collected, environment, have_read, without_walk
from tests.probes.reading import KERNEL, WAYS

HEADERS = (  # of 6.18 and of 5.10
    "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  "
    "expect_new expect_create expect_delete search_restart",
    "entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error  "
    "expect_new expect_create expect_delete search_restart",
)
TRACKING = """
table inet tracking {
    chain output { type filter hook output priority 0; ct state invalid counter; }
    chain input { type filter hook input priority 0; ct state invalid counter; }
}
"""


@pytest.fixture(params=WAYS)
def probe(request: pytest.FixtureRequest, access: KernelAccess) -> Iterator[Collected]:
    with collected(conntrack.PROBE, access if request.param == KERNEL else without_walk(access)) as probe:
        yield probe


def track(namespace: Namespace) -> None:
    """Have connections tracked: the kernel does so only where a rule asks for their state."""
    namespace.command("nft", "-f", "-", stdin=TRACKING)


@pytest.mark.parametrize("family", Family)
def test_each_flow_is_an_entry_of_its_namespace(probe: Collected, pair: Pair, family: Family) -> None:
    namespace = pair.client.namespace
    track(namespace)
    before = probe.rows()
    with datagram(pair.server, family) as reader, contextlib.ExitStack() as senders:
        for _ in range(7):
            senders.enter_context(datagram(pair.client, family)).sendto(b"x", reader.getsockname())
    after = probe.rows()
    assert changes(before[namespace.inode], after[namespace.inode]) == {"conntrackentries": 7}
    assert changes(before[pair.server.namespace.inode], after[pair.server.namespace.inode]) == {}
    assert int(namespace.command("conntrack", "--count")) == 7


def test_invalid_packets_are_counted_as_conntrack_does(probe: Collected, pair: Pair) -> None:
    namespace = pair.client.namespace
    track(namespace)
    namespace.sysctl("netfilter/nf_conntrack_tcp_loose", 0)
    before = probe.rows()[namespace.inode]
    with (
        pair.server.namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as sender,
        pair.client.namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
    ):
        for _ in range(4):
            # A TCP header cut short: no connection can be told from it.
            sender.sendto(bytes(8), (pair.client.ipv4, 0))
    after = probe.rows()[namespace.inode]
    assert changes(before, after) == {"conntrackinvalid": 4}
    shown = namespace.command("conntrack", "--stats").split()
    assert sum(int(word.removeprefix("invalid=")) for word in shown if word.startswith("invalid=")) == 4


@pytest.fixture
def tracked(pair: Pair) -> Pair:
    """A pair of which the client tracks connections."""
    track(pair.client.namespace)
    return pair


def insert(namespace: Namespace, entries: int) -> None:
    """Have entries made by hand, as conntrack(8) can."""
    for port in range(1, entries + 1):
        flow = f"-p udp -s 192.0.2.1 -d 192.0.2.2 --sport {port} --dport 9 --timeout 60"
        namespace.command("conntrack", "-I", *flow.split())


def send_broken_pings(pair: Pair, count: int) -> None:
    """Have the client get messages of ICMP whose checksum is wrong."""
    with pair.server.namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sender:
        for _ in range(count):
            sender.sendto(struct.pack("!BBHI", 8, 0, 0xDEAD, 1), (pair.client.ipv4, 0))


def test_inserted_entries_and_broken_icmp_are_counted_each_by_its_number(probe: Collected, tracked: Pair) -> None:
    namespace = tracked.client.namespace
    before = probe.rows()[namespace.inode]
    insert(namespace, 3)
    send_broken_pings(tracked, 5)
    after = probe.rows()[namespace.inode]
    assert changes(before, after) == {"conntrackentries": 3, "conntrackinsert": 3, "conntrackerror": 5}


SHOWN = {
    "conntrackentries": "entries",
    "conntrackfound": "found",
    "conntrackinsert": "insert",
    "conntrackinvalid": "invalid",
    "conntrackignore": "ignore",
    "conntrackinsertfailed": "insert_failed",
    "conntrackdrop": "drop",
    "conntrackearlydrop": "early_drop",
    "conntracksearchrestart": "search_restart",
    "conntrackerror": "icmp_error",
}


@pytest.mark.parametrize("header", HEADERS)
def test_each_series_shows_its_own_column(
    access: KernelAccess, netns: Namespace, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    """Of two CPUs, each with another number in each column, since some of it cannot be caused in one namespace."""
    numbers = {name: 100 + number for number, name in enumerate(header.split())}
    row = " ".join(f"{number:08x}" for number in numbers.values())
    have_read(monkeypatch, conntrack, f"{header}\n{row}\n{row}\n")
    with collected(conntrack.PROBE, without_walk(access)) as probe:
        told = probe.rows()[netns.inode]
    del told["conntrackmaxentries"]
    expected = {series: numbers[column] * (1 if column == "entries" else 2) for series, column in SHOWN.items()}
    assert told == expected


def test_the_limit_is_the_one_that_each_namespace_shows(probe: Collected, netns: Namespace) -> None:
    shown = netns.command("cat", "/proc/sys/net/netfilter/nf_conntrack_max")
    assert {row["conntrackmaxentries"] for row in probe.rows().values()} == {int(shown)}


words = st.integers(min_value=0, max_value=2**32 - 1)


def test_a_kernel_without_the_table_needs_the_pass(
    access: KernelAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PROC", tmp_path)
    with collected(conntrack.PROBE, access) as probe:
        assert "conntrackentries" in next(iter(probe.rows().values()))
    with pytest.raises(Unavailable, match=r"stat/nf_conntrack: No such file or directory: load nf_conntrack"):
        conntrack.PROBE.start(environment(without_walk(access)))


@given(
    header=st.sampled_from(HEADERS),
    rows=st.lists(st.lists(st.just(0) | words, min_size=17, max_size=17), min_size=1, max_size=5),
    entries=words,
)
def test_any_table_is_read_back(header: str, rows: list[list[int]], entries: int) -> None:
    names = header.split()
    rows = [[entries, *row[1:]] for row in rows]
    text = header + "\n" + "".join(" ".join(f"{word:08x}" for word in row) + "\n" for row in rows)
    sums = (sum(row[names.index(name)] for row in rows) for name in Conntrack._fields[1:])
    assert parse_conntrack(text) == Conntrack(entries, *sums)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("entries found\n", 1),
        (HEADERS[0] + "\n", 2),
        (HEADERS[0] + "\n00000000 00000000\n", 2),
        (HEADERS[0] + "\n" + "00000000 " * 17 + "\n" + "0000000x " * 17 + "\n", 3),
    ],
)
def test_a_malformed_table_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(MalformedTable, match=f"^nf_conntrack, line {line}: "):
        parse_conntrack(text, "nf_conntrack")


@given(st.text() | st.text().map((HEADERS[0] + "\n").__add__))
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(MalformedTable):
        parse_conntrack(text)
