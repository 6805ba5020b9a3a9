"""Every TCP socket of a namespace counts once, whoever holds it, as ss shows it."""

from __future__ import annotations

import bisect
import contextlib
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.links import Host, loopback
from lab.namespace import Namespace
from lab.segments import Flag
from lab.sockets import close_with_reset, handed_to_process, listening, port_of
from lab.states import PUPPET_PORT, SYN_ACK, connecting, led_to, requested
from lab.truth import Family
from lab.waiting import eventually
from lab.wire import Wire
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.proc.files import MalformedTable
from otel_netagent.kernel.proc.tcp_table import TcpSocket, parse_tcp_table
from otel_netagent.model.table import Distribution
from otel_netagent.probes import tcpsummary
from tests.probes.reading import KERNEL, WAYS, Reading, reading

FAMILIES = pytest.mark.parametrize("family", list(Family), ids=lambda family: family.value)

STATES = {
    "ESTAB": "tcpsummarytcpestablishedconn",
    "TIME-WAIT": "tcpsummarytcptimewaitconn",
    "CLOSE-WAIT": "tcpsummarytcpclosewaitconn",
    "SYN-SENT": "tcpsummarytcpsynsentconn",
    "SYN-RECV": "tcpsummarytcpsynrecvconn",
}
UNSENT, UNREAD = "tcpsummarytcptxqueue", "tcpsummarytcprxqueue"
PORTS = "tcpsummarytcplistenports"
ROUND_TRIPS = "inspector_pod_tcpsummarytcprtt"
SLOW_S = 0.03
BOUNDS = next(series.bounds for series in tcpsummary.PROBE.series if series.name == ROUND_TRIPS)


def backlog(port: int | str) -> str:
    return f"tcpsummarytcplistenbacklog{{{port}}}"


def backlog_limit(port: int | str) -> str:
    return f"tcpsummarytcplistenbackloglimit{{{port}}}"


@pytest.fixture(params=WAYS)
def summary(request: pytest.FixtureRequest, kernel: KernelFacts) -> Iterator[Reading]:
    with reading(tcpsummary.PROBE, request.param, kernel) as running:
        yield running


@pytest.fixture
def host(netns: Namespace) -> Host:
    return loopback(netns).client


def shown_by_ss(netns: Namespace) -> dict[str, int]:
    """The same by `ss`, which asks sock_diag; with the limits of accept queues."""
    sums: Counter[str] = Counter(dict.fromkeys([*STATES.values(), UNSENT, UNREAD, PORTS], 0))
    ports = set()
    for line in netns.command("ss", "-Htan").splitlines():
        state, unread, unsent, local, _ = line.split()
        if state == "LISTEN":
            port = local.rpartition(":")[2]
            ports.add(port)
            sums[backlog(port)] += int(unread)
            sums[backlog_limit(port)] += int(unsent)
        elif state in STATES:
            sums[STATES[state]] += 1
        if state == "ESTAB":
            sums[UNREAD] += int(unread)
            sums[UNSENT] += int(unsent)
    return dict(sums) | {PORTS: len(ports)}


def agreed(summary: Reading, netns: Namespace) -> dict[str, int]:
    """Values while nothing moves, which are those of ss."""

    def at_rest() -> tuple[dict[str, int], dict[str, int]] | None:
        before = shown_by_ss(netns)
        values = summary.values(netns)
        return (values, before) if shown_by_ss(netns) == before else None

    both = eventually(at_rest)
    assert both is not None
    values, truth = both
    if summary.way != KERNEL:  # procfs does not tell the limits
        truth = {name: value for name, value in truth.items() if "limit" not in name}
    assert values == truth
    return values


def connect(host: Host, family: Family, listener: socket.socket, count: int) -> list[socket.socket]:
    """Connections to the listener, accepted by nobody."""
    clients = []
    for _ in range(count):
        client = host.namespace.socket(family.sockets, socket.SOCK_STREAM)
        client.connect(listener.getsockname()[:2])
        clients.append(client)
    return clients


def close_all(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        close_with_reset(each)


@FAMILIES
def test_unread_bytes_of_37_sockets(summary: Reading, host: Host, family: Family) -> None:
    with listening(host, family, backlog=64) as listener:
        clients = connect(host, family, listener, 37)
        servers = [listener.accept()[0] for _ in clients]
        for client in clients:
            client.sendall(bytes(1000))
        values = agreed(summary, host.namespace)
        assert values["tcpsummarytcpestablishedconn"] == 74
        assert values[UNREAD] == 37_000
        assert values[UNSENT] == 0
        for server in servers[:7]:
            server.recv(1000)
        assert agreed(summary, host.namespace)[UNREAD] == 30_000
        close_all([*clients, *servers])


@FAMILIES
def test_bytes_that_the_peer_has_no_room_for(summary: Reading, host: Host, family: Family) -> None:
    with listening(host, family) as listener:
        (client,) = connect(host, family, listener, 1)
        client.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += client.send(bytes(65536))
        values = agreed(summary, host.namespace)
        assert values[UNSENT] > 0
        # Bytes that have come and are not acknowledged yet are in both queues.
        assert values[UNSENT] + values[UNREAD] >= sent
        close_all([client])


@FAMILIES
def test_connections_that_nobody_has_accepted(summary: Reading, host: Host, family: Family) -> None:
    """No descriptor leads to the listener's side of them."""
    with listening(host, family, backlog=12) as listener:
        clients = connect(host, family, listener, 5)
        clients[0].sendall(bytes(500))
        values = agreed(summary, host.namespace)
        assert values["tcpsummarytcpestablishedconn"] == 10
        assert values[UNREAD] == 500
        assert values[PORTS] == 1
        assert values[backlog(port_of(listener))] == 5
        if summary.way == KERNEL:
            assert values[backlog_limit(port_of(listener))] == 12
        listener.accept()[0].close()
        assert agreed(summary, host.namespace)[backlog(port_of(listener))] == 4
        close_all(clients)
    values = agreed(summary, host.namespace)
    assert values["tcpsummarytcpestablishedconn"] == 0
    assert values[PORTS] == 0


@FAMILIES
def test_time_wait_and_close_wait(summary: Reading, host: Host, family: Family) -> None:
    with listening(host, family, backlog=32) as listener:
        clients = connect(host, family, listener, 9)
        servers = [listener.accept()[0] for _ in clients]
        for client in clients:
            client.close()
        values = agreed(summary, host.namespace)
        assert values["tcpsummarytcpclosewaitconn"] == 9
        assert values["tcpsummarytcptimewaitconn"] == 0  # but FIN_WAIT2
        for server in servers[:6]:
            server.close()
        values = agreed(summary, host.namespace)
        assert values["tcpsummarytcpclosewaitconn"] == 3
        assert values["tcpsummarytcptimewaitconn"] == 6
        close_all(servers[6:])


@FAMILIES
def test_half_open_connections(summary: Reading, wire: Wire, family: Family) -> None:
    with connecting(wire, family) as (_, puppet):
        assert agreed(summary, wire.host.namespace)["tcpsummarytcpsynsentconn"] == 1
        puppet.send(Flag.RST | Flag.ACK)
    if family is not Family.MAPPED:
        with requested(wire, family) as puppet:
            assert agreed(summary, wire.host.namespace)["tcpsummarytcpsynrecvconn"] == 1
            puppet.send(Flag.RST)


@pytest.mark.parametrize(
    "state", ["TCP_FIN_WAIT1", "TCP_FIN_WAIT2", "TCP_CLOSING", "TCP_LAST_ACK", "TCP_TIME_WAIT", "TCP_CLOSE_WAIT"]
)
def test_every_other_state(summary: Reading, wire: Wire, state: str) -> None:
    with led_to(state, wire, Family.IPV4):
        values = agreed(summary, wire.host.namespace)
    moved = {name for name in STATES.values() if values[name]}
    assert moved == {series for name, series in STATES.items() if name.replace("-", "_") == state.removeprefix("TCP_")}


def test_a_socket_that_many_descriptors_lead_to_counts_once(summary: Reading, host: Host) -> None:
    """Duplicates, another process that inherited it, and a descriptor that is on its way in a Unix socket."""
    with listening(host, Family.IPV4) as listener:
        (client,) = connect(host, Family.IPV4, listener, 1)
        server, _ = listener.accept()
        client.sendall(bytes(1000))
        carrier, other_end = socket.socketpair()
        duplicates = [os.dup(server.fileno()) for _ in range(5)]
        socket.send_fds(carrier, [b"x"], [server.fileno()])
        with handed_to_process(server) as process, carrier, other_end:
            values = agreed(summary, host.namespace)
            for duplicate in duplicates:
                os.close(duplicate)
            process.kill()
            process.wait()
            assert agreed(summary, host.namespace) == values  # only the carrier holds it now
        assert values["tcpsummarytcpestablishedconn"] == 2
        assert values[UNREAD] == 1000
        close_all([client])


def test_a_socket_counts_where_it_was_made(summary: Reading, host: Host) -> None:
    """The test's own process, in the host's namespace, holds all sockets of this module; another one does here."""
    with Namespace() as elsewhere, listening(host, Family.IPV4) as listener:
        there = agreed(summary, elsewhere)
        (client,) = connect(host, Family.IPV4, listener, 1)
        with elsewhere.run(lambda: handed_to_process(client)):
            assert agreed(summary, elsewhere) == there
            assert agreed(summary, host.namespace)["tcpsummarytcpestablishedconn"] == 2


def test_sockets_that_share_a_port_are_taken_together(summary: Reading, host: Host) -> None:
    with contextlib.ExitStack() as stack:
        port = 0
        for limit in (3, 4, 5):
            listener = stack.enter_context(host.namespace.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(limit)
            port = port_of(listener)
        clients = connect(host, Family.IPV4, listener, 3)
        values = agreed(summary, host.namespace)
        assert values[backlog(port)] == 3
        if summary.way == KERNEL:
            assert values[backlog_limit(port)] == 12
        close_all(clients)


def test_no_more_ports_than_the_limit_have_a_series(summary: Reading, host: Host) -> None:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(listening(host, Family.IPV6)) for _ in range(tcpsummary.PORTS_MAX + 8)]
        listeners.sort(key=port_of)
        clients = connect(host, Family.IPV6, listeners[-1], 2) + connect(host, Family.IPV6, listeners[-8], 3)
        clients += connect(host, Family.IPV6, listeners[0], 1)
        values = summary.values(host.namespace)  # of those that are there together, the lowest come first
        assert values[PORTS] == len(listeners)
        assert sum(name.startswith("tcpsummarytcplistenbacklog{") for name in values) == tcpsummary.PORTS_MAX + 1
        assert values[backlog(port_of(listeners[0]))] == 1
        assert values[backlog("other")] == 5
        if summary.way == KERNEL:
            assert values[backlog_limit("other")] == 8 * 8
        close_all(clients)


def test_a_namespace_with_a_hash_table_of_its_own(summary: Reading, netns: Namespace) -> None:
    """Since Linux 6.1 a child of this namespace gets one of the size that is set here; before, all share one."""
    possible = Path("/proc/sys/net/ipv4/tcp_child_ehash_entries").exists()
    if possible:
        netns.sysctl("ipv4/tcp_child_ehash_entries", 16)
    with netns.run(Namespace) as child:
        assert not possible or child.run(Path("/proc/sys/net/ipv4/tcp_ehash_entries").read_text) == "16\n"
        host = loopback(child).client
        with listening(host, Family.IPV4, backlog=300) as listener:
            clients = connect(host, Family.IPV4, listener, 200)
            values = agreed(summary, child)
            assert values["tcpsummarytcpestablishedconn"] == 400
            assert values[backlog(port_of(listener))] == 200
            close_all(clients)


def test_connections_that_come_and_go_elsewhere_disturb_nobody(summary: Reading, host: Host) -> None:
    """The chains are walked without a lock, while sockets of other namespaces enter and leave the same ones."""
    ending = threading.Event()

    def come_and_go(elsewhere: Namespace) -> None:
        with listening(loopback(elsewhere).client, Family.IPV4) as listener:
            while not ending.is_set():
                (client,) = connect(loopback(elsewhere).client, Family.IPV4, listener, 1)
                close_with_reset(client)
                listener.accept()[0].close()

    with Namespace() as elsewhere, listening(host, Family.IPV4, backlog=200) as listener:
        clients = connect(host, Family.IPV4, listener, 150)
        coming_and_going = threading.Thread(target=come_and_go, args=(elsewhere,))
        coming_and_going.start()
        try:
            told = [summary.values(host.namespace) for _ in range(40)]
        finally:
            ending.set()
            coming_and_going.join()
        assert {values["tcpsummarytcpestablishedconn"] for values in told} == {300}
        assert {values[backlog(port_of(listener))] for values in told} == {150}
        close_all(clients)


def shown_round_trips(netns: Namespace) -> list[float]:
    """Seconds, of each connection by ss, which shows milliseconds with three decimals."""
    shown = netns.command("ss", "-Htin", "state", "established")
    return [float(each) / 1000 for each in re.findall(r"\brtt:([\d.]+)/", shown)]


@FAMILIES
def test_round_trips_are_those_of_ss_and_add_up(summary: Reading, wire: Wire, family: Family) -> None:
    """Of three peers, the last takes its time to answer; each connection counts once in every collection."""
    netns = wire.host.namespace
    if summary.way != KERNEL:
        assert [hook.way for hook in summary.probe.hooks if hook.purpose == "round-trip times"] == [None]
        return
    with listening(wire.host, family) as listener:
        puppets = [wire.puppet(family, PUPPET_PORT + number, port_of(listener)) for number in range(3)]
        for puppet in puppets[:2]:
            puppet.connect()
        puppets[2].send(Flag.SYN)
        puppets[2].expect(SYN_ACK)
        answer_at = time.monotonic() + SLOW_S
        eventually(lambda: time.monotonic() >= answer_at)
        puppets[2].send(Flag.ACK)
        first = round_trips(summary, netns)
        truth = shown_round_trips(netns)
        second = round_trips(summary, netns)
    assert len(truth) == 3
    assert max(truth) >= SLOW_S
    assert second.sum - first.sum == pytest.approx(sum(truth), abs=1e-5)
    expected = Counter(bisect.bisect_left(BOUNDS, each) for each in truth)
    assert {place: now - before for place, (now, before) in moved(second, first)} == expected


def round_trips(summary: Reading, netns: Namespace) -> Distribution:
    found = summary.distribution(netns, ROUND_TRIPS)
    assert found is not None
    return found


def moved(after: Distribution, before: Distribution) -> Iterator[tuple[int, tuple[int, int]]]:
    """Buckets whose counts differ."""
    pairs = enumerate(zip(after.counts, before.counts, strict=True))
    return (each for each in pairs if each[1][0] != each[1][1])


def test_a_namespace_without_connections_has_no_round_trips(summary: Reading, netns: Namespace) -> None:
    assert summary.distribution(netns, ROUND_TRIPS) is None


def test_a_namespace_without_sockets_has_zeros(summary: Reading, netns: Namespace) -> None:
    assert set(agreed(summary, netns).values()) == {0}


# --- The table in procfs


@given(
    st.lists(
        st.builds(
            TcpSocket,
            state=st.integers(1, 12),
            port=st.integers(0, 65535),
            unsent=st.integers(0, 2**32 - 1),
            unread=st.integers(0, 2**31 - 1),
        )
    ),
    st.sampled_from(["0100007F", "0000000000000000FFFF00000100007F"]),
)
def test_every_table_of_the_kernels_form_is_read(sockets: list[TcpSocket], address: str) -> None:
    lines = [
        f"{number:4d}: {address}:{each.port:04X} {address}:0050 {each.state:02X} {each.unsent:08X}:{each.unread:08X}"
        " 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0"
        for number, each in enumerate(sockets)
    ]
    text = "\n".join(["  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt", *lines, ""])
    assert list(parse_tcp_table(text)) == sockets


@given(st.text())
def test_any_other_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(MalformedTable):
        list(parse_tcp_table(text))
