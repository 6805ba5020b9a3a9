"""Sockets are counted in their namespace, of both families; what the kernel keeps for the node is told once."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.links import Pair, loopback
from lab.namespace import Namespace
from lab.sockets import listening
from lab.truth import Family
from lab.waiting import eventually
from otel_netagent.kernel.proc import processes
from otel_netagent.kernel.proc.files import MalformedTable
from otel_netagent.kernel.proc.sockstat import parse_sockstat
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import sock
from tests.probes.collected import Collected, collected, without_walk
from tests.probes.reading import KERNEL, WAYS

words = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1)


@pytest.fixture(params=WAYS)
def probe(request: pytest.FixtureRequest, access: KernelAccess) -> Iterator[Collected]:
    with collected(sock.PROBE, access if request.param == KERNEL else without_walk(access)) as probe:
        yield probe


def test_sockets_of_both_families_are_in_use(probe: Collected, netns: Namespace) -> None:
    with contextlib.ExitStack() as sockets:
        for family, count in ((Family.IPV4, 3), (Family.IPV6, 4)):
            for _ in range(count):
                sockets.enter_context(listening(loopback(netns).server, family))
        assert probe.rows()[netns.inode] == {"sockinuse": 7, "socktw": 0}
        summary = netns.command("ss", "--summary")
        (line,) = (
            line.split() for line in summary.splitlines() if line.startswith("TCP\t") or line.startswith("TCP  ")
        )
        assert line[1] == "7"
    assert probe.rows()[netns.inode] == {"sockinuse": 0, "socktw": 0}


@pytest.mark.parametrize("family", Family)
def test_time_wait_is_where_the_connection_was_closed_first(probe: Collected, pair: Pair, family: Family) -> None:
    with listening(pair.server, family) as listener:
        for _ in range(5):
            with pair.client.namespace.socket(family.sockets, socket.SOCK_STREAM) as client:
                client.connect(listener.getsockname())
                server, _ = listener.accept()
                client.close()
                assert server.recv(1) == b""
                server.close()
    assert probe.rows()[pair.server.namespace.inode]["socktw"] == 0
    assert eventually(lambda: probe.rows()[pair.client.namespace.inode]["socktw"]) == 5


def test_orphans_and_buffers_are_the_nodes(probe: Collected, pair: Pair) -> None:
    """A socket that is closed while its peer does not read stays, as nobody's, with what it had to send."""
    host = processes.host_netns()
    assert host is not None
    with listening(pair.server, Family.IPV4) as listener, contextlib.ExitStack() as clients:
        for _ in range(5):
            client = clients.enter_context(pair.client.namespace.socket(socket.AF_INET, socket.SOCK_STREAM))
            client.connect(listener.getsockname())
            server, _ = listener.accept()
            server.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    server.send(bytes(65536))
            server.close()
        rows = probe.rows()
        assert rows[host]["sockorphan"] >= 5
        assert rows[host]["sockalloc"] >= 10
        eventually(lambda: _of_the_node(probe.rows()[host]) == _shown_by_the_kernel())
    assert [inode for inode, row in rows.items() if "sockorphan" in row] == [host]


def _of_the_node(row: Mapping[str, int]) -> list[int]:
    return [row[name] for name in ("sockorphan", "sockalloc", "sockmem")]


def _shown_by_the_kernel() -> list[int]:
    """The same of this moment; pages that CPUs hold in reserve are not in `mem` (since Linux 5.19)."""
    shown = Path("/proc/net/sockstat").read_text().split()
    tcp = shown[shown.index("TCP:") :]
    return [int(tcp[tcp.index(name) + 1]) for name in ("orphan", "alloc", "mem")]


@given(st.dictionaries(words, st.dictionaries(words, st.integers(), min_size=1)))
def test_any_table_is_read_back(protocols: dict[str, dict[str, int]]) -> None:
    lines = (
        f"{protocol}: {' '.join(f'{name} {number}' for name, number in numbers.items())}\n"
        for protocol, numbers in protocols.items()
    )
    assert parse_sockstat("".join(lines)) == protocols


@pytest.mark.parametrize("line", ["TCP inuse 1\n", "TCP: inuse\n", "TCP: inuse one\n", "\n"])
def test_a_malformed_table_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(MalformedTable, match=r"^sockstat, line 2: "):
        parse_sockstat("sockets: used 1\n" + line, "sockstat")


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(MalformedTable):
        parse_sockstat(text)
