"""What TCP sends again is counted as the kernel counts it, and told with what made it so."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.capture import capturing
from lab.counters import counters
from lab.links import Pair
from lab.namespace import Namespace
from lab.segments import Flag, checksum
from lab.sockets import listening, port_of, stream
from lab.states import accepted, connecting, requested
from lab.truth import Family
from lab.waiting import eventually
from lab.wire import Wire
from otel_netagent.kernel.bpf.layout import BadRecord
from otel_netagent.model.event import Event, Severity
from otel_netagent.pipeline.drop_correlation import DropCorrelator
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import tcpretrans
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment, EventSettings
from tests.kernel.held import held
from tests.probes.running import Running, running

FAMILIES = pytest.mark.parametrize("family", list(Family), ids=lambda family: family.value)
SEGMENTS, BYTES = "inspector_pod_tcpretrans_total", "inspector_pod_tcpretrans_bytes"


@pytest.fixture(scope="module")
def retransmissions(access: KernelAccess) -> Iterator[Running]:
    """The probe, which emits expected events too."""
    with running("tcpretrans", access, EventSettings(expected=True)) as probe:
        yield probe


def agreed(probe: Running, namespace: Namespace) -> dict[str, int]:
    """Values while nothing moves, which are those of the kernel: RetransSegs counts also what could not be sent."""

    def at_rest() -> dict[str, int] | None:
        values, truth = probe.values(namespace), counters(namespace)
        return values if values[SEGMENTS] == truth["Tcp.RetransSegs"] - truth["TcpExt.TCPRetransFail"] else None

    values = eventually(at_rest)
    assert values is not None
    return values


def facts(event: Event) -> tuple[object, ...]:
    names = ("segment", "trigger", "bytes", "segments")
    return tuple(event.attributes.get(f"netagent.retransmission.{name}") for name in names)


@contextlib.contextmanager
def connected(pair: Pair, family: Family) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection; data of the first goes at once."""
    with listening(pair.server, family) as listener, stream(pair.client, family) as client:
        client.connect(listener.getsockname()[:2])
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server, _ = listener.accept()
        with server:
            yield client, server


@contextlib.contextmanager
def dropping(namespace: Namespace, match: str, hook: str = "input") -> Iterator[None]:
    """Packets that match are dropped at a hook of the namespace for the time of the block."""
    rules = f"table inet lab {{ chain {hook} {{ type filter hook {hook} priority 0; {match} counter drop; }}; }}"
    namespace.command("nft", "-f", "-", stdin=rules)
    try:
        yield
    finally:
        namespace.command("nft", "delete", "table", "inet", "lab")


def dropped(namespace: Namespace) -> int:
    """How many packets the only rule has dropped."""
    match = re.search(r"counter packets (\d+)", namespace.command("nft", "list", "ruleset"))
    assert match is not None
    return int(match[1])


def bytes_by_ss(namespace: Namespace) -> int:
    """Bytes that all sockets of the namespace have sent again."""
    return sum(map(int, re.findall(r"bytes_retrans:(\d+)", namespace.command("ss", "-Htin"))))


# --- What is sent again


@FAMILIES
def test_a_lost_segment_is_probed_for_and_then_sent_by_time_out(
    retransmissions: Running, pair: Pair, family: Family
) -> None:
    client_netns = pair.client.namespace
    with connected(pair, family) as (client, server), capturing(pair.client) as capture:
        port = port_of(server)
        with dropping(pair.server.namespace, f"tcp dport {port} tcp flags & psh != 0"):
            client.sendall(bytes(500))
            eventually(lambda: dropped(pair.server.namespace) >= 3)
        assert len(server.recv(1000)) == 500
        eventually(lambda: "unacked" not in client_netns.command("ss", "-Htin"))
        values = agreed(retransmissions, client_netns)
        sent, _ = capture.segments()
        again = len([each for each in sent if each.payload]) - 1
        sequence = next(each.sequence for each in sent if each.payload)
        assert values[BYTES] == bytes_by_ss(client_netns) == again * 500
        events = retransmissions.events(client_netns)
    assert values[SEGMENTS] == again == len(events)
    assert [facts(event) for event in events] == [
        ("DATA", "LOSS_PROBE", 500, None),
        *[("DATA", "TIMEOUT", 500, None)] * (again - 1),
    ]
    assert {event.type.severity for event in events} == {Severity.WARN}
    assert {event.attributes["netagent.tcp.sequence"] for event in events} == {sequence}
    assert [event.attributes["netagent.tcp.timeouts"] for event in events[1:3]] == [1, 2][: again - 1]
    assert {event.attributes["netagent.tcp.state"] for event in events} == {"TCP_ESTABLISHED"}
    assert {event.attributes["destination.port"] for event in events} == {port}


@FAMILIES
def test_what_acknowledgments_show_to_be_lost_is_sent_again_fast_and_that_is_expected(
    retransmissions: Running, pair: Pair, family: Family
) -> None:
    """The first of ten segments is lost; the others are acknowledged selectively."""
    client_netns = pair.client.namespace
    with connected(pair, family) as (client, server):
        match = f"tcp dport {port_of(server)} tcp flags & psh != 0 numgen inc mod 1000 == 0"
        with dropping(pair.server.namespace, match):
            for _ in range(10):
                client.sendall(bytes(1000))
            eventually(lambda: len(server.recv(20_000, socket.MSG_PEEK)) == 10_000)
        values = agreed(retransmissions, client_netns)
        assert values[BYTES] == bytes_by_ss(client_netns)
        (event,) = retransmissions.events(client_netns)
    assert facts(event) == ("DATA", "FAST", 1000, None)
    assert event.type.severity is Severity.INFO
    assert event.attributes["netagent.expected"] == 1
    assert (values[SEGMENTS], values[BYTES]) == (1, 1000)


def test_without_the_wish_for_expected_events_a_fast_retransmission_is_counted_only(
    access: KernelAccess, pair: Pair
) -> None:
    with running("tcpretrans", access) as probe, connected(pair, Family.IPV4) as (client, server):
        match = f"tcp dport {port_of(server)} tcp flags & psh != 0 numgen inc mod 1000 == 0"
        with dropping(pair.server.namespace, match):
            for _ in range(10):
                client.sendall(bytes(1000))
            eventually(lambda: len(server.recv(20_000, socket.MSG_PEEK)) == 10_000)
        assert agreed(probe, pair.client.namespace)[SEGMENTS] == 1
        assert probe.events(pair.client.namespace) == []


def report_small_mtu(pair: Pair, packet: bytes, mtu: int) -> None:
    """Have the client told that a packet of its own was too large for the path (RFC 792, RFC 1191)."""
    message = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + packet[:28]
    summed = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    with pair.server.namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as reporter:
        reporter.sendto(summed, (pair.client.ipv4, 0))


def test_what_is_known_to_be_lost_is_sent_again_by_no_loss_probe(retransmissions: Running, pair: Pair) -> None:
    """Though the timer of one runs, and will for five seconds: a segment that was too large for the path is lost."""
    client_netns = pair.client.namespace
    client_netns.command(
        *f"ip route change 10.0.1.0/24 dev {pair.client.device} src {pair.client.ipv4} rto_min 5s".split()
    )
    with (
        connected(pair, Family.IPV4) as (client, server),
        capturing(pair.client) as capture,
        dropping(pair.server.namespace, f"tcp dport {port_of(server)} tcp flags & psh != 0"),
    ):
        client.sendall(bytes(1000))
        eventually(lambda: dropped(pair.server.namespace))
        (lost,) = [packet for outgoing, packet in capture.packets() if outgoing and len(packet) > 1000]
        report_small_mtu(pair, lost, 600)
        events = eventually(lambda: retransmissions.events(client_netns))
    assert facts(events[0])[:2] == ("DATA", "TIMEOUT")


def test_a_large_packet_counts_by_its_segments(retransmissions: Running, pair: Pair) -> None:
    """TSO: the kernel handles many segments as one."""
    client_netns = pair.client.namespace
    with connected(pair, Family.IPV4) as (client, server):
        with dropping(pair.server.namespace, f"tcp dport {port_of(server)} tcp flags & ack != 0"):
            client.sendall(bytes(14_000))
            eventually(lambda: dropped(pair.server.namespace) >= 3)
        eventually(lambda: len(server.recv(20_000, socket.MSG_PEEK)) == 14_000)
        values = agreed(retransmissions, client_netns)
        assert values[BYTES] == bytes_by_ss(client_netns)
        events = retransmissions.events(client_netns)
    assert values[SEGMENTS] == sum(int(event.attributes.get("netagent.retransmission.segments", 1)) for event in events)
    assert values[BYTES] == sum(int(event.attributes["netagent.retransmission.bytes"]) for event in events)


@FAMILIES
def test_the_drop_on_this_node_is_told_with_it(
    retransmissions: Running, access: KernelAccess, pair: Pair, family: Family
) -> None:
    """Another namespace drops; the two events meet in the pipeline."""
    with running("packetloss", access) as packetloss, connected(pair, family) as (client, server):
        with dropping(pair.server.namespace, f"tcp dport {port_of(server)} tcp flags & psh != 0"):
            client.sendall(b"data")
            eventually(lambda: dropped(pair.server.namespace) >= 2)
        eventually(lambda: "unacked" not in pair.client.namespace.command("ss", "-Htin"))
        drops = [event for event in packetloss.events(pair.server.namespace) if "TCP" in event.body]
        again = retransmissions.events(pair.client.namespace)
    correlator = DropCorrelator()
    joined = [correlator.joined(event) for event in sorted([*drops, *again], key=lambda event: event.time_ns)]
    told = [event for event in joined if event.type.name == "TCPRETRANS"]
    assert len(told) >= 1
    assert {event.attributes.get("netagent.drop.reason") for event in told} == {"NETFILTER_DROP"}
    assert {event.attributes["netagent.drop.location"] for event in told} == {
        drop.attributes["netagent.drop.location"] for drop in drops
    }


def test_what_cannot_be_sent_is_not_counted(retransmissions: Running, pair: Pair) -> None:
    """A firewall of its own forbids it: the kernel counts that as a failure."""
    namespace = pair.client.namespace
    data = "tcp flags & psh != 0"
    with connected(pair, Family.IPV4) as (client, _), dropping(pair.server.namespace, data):
        client.sendall(b"data")
        eventually(lambda: dropped(pair.server.namespace))
        with dropping(namespace, data, hook="output"):
            eventually(lambda: counters(namespace)["TcpExt.TCPRetransFail"] >= 2)
            values = agreed(retransmissions, namespace)
            assert values[SEGMENTS] == len(retransmissions.events(namespace)) < counters(namespace)["Tcp.RetransSegs"]


@FAMILIES
def test_a_syn_and_a_syn_ack(retransmissions: Running, wire: Wire, family: Family) -> None:
    namespace = wire.host.namespace
    with connecting(wire, family) as (_, puppet):
        again = puppet.expect(Flag.SYN)
    (event,) = retransmissions.events(namespace)
    assert facts(event) == ("SYN", "TIMEOUT", None, None)
    assert event.attributes["netagent.tcp.sequence"] == again.sequence
    with requested(wire, family) as puppet:
        again = puppet.expect(Flag.SYN | Flag.ACK)
    (event,) = retransmissions.events(namespace)
    assert facts(event) == ("SYN-ACK", None, None, None)
    assert event.attributes["netagent.tcp.sequence"] == again.sequence
    assert event.attributes["source.port"] == puppet.sends.destination.port
    values = agreed(retransmissions, namespace)
    assert (values[SEGMENTS], values[BYTES]) == (2, 0)


def test_a_namespace_where_nothing_is_lost_has_zeros(retransmissions: Running, wire: Wire) -> None:
    with accepted(wire, Family.IPV4):
        pass
    values = agreed(retransmissions, wire.host.namespace)
    assert {name: value for name, value in values.items() if "{" not in name} == {SEGMENTS: 0, BYTES: 0}


# --- Records

HEADER, FLOW, REST = struct.Struct("=QQII"), struct.Struct("=16s16sHHHBBBBBx"), struct.Struct("=IIIIII")
KINDS = 5


@settings(deadline=None)
@given(
    kind=st.integers(0, KINDS - 1),
    flow=st.binary(min_size=FLOW.size, max_size=FLOW.size),
    rest=st.binary(min_size=REST.size, max_size=REST.size),
)
def test_no_record_of_the_right_size_breaks_the_reading(
    retransmissions: Running, kind: int, flow: bytes, rest: bytes
) -> None:
    event = retransmissions.source.decode(HEADER.pack(1, 2, 3, kind) + flow + rest, 0)
    assert event.body.isprintable()


@settings(deadline=None)
@given(st.data())
def test_any_other_is_bad(retransmissions: Running, data: st.DataObject) -> None:
    size = FLOW.size + REST.size
    with pytest.raises(BadRecord):
        retransmissions.source.decode(HEADER.pack(1, 2, 3, KINDS) + bytes(size), 0)
    with pytest.raises(BadRecord):
        retransmissions.source.decode((HEADER.pack(1, 2, 3, 0) + bytes(size))[: data.draw(st.integers(0, 91))], 0)


def test_close_leaves_nothing(access: KernelAccess) -> None:
    before = held()
    with running("tcpretrans", access):
        assert (held() - before)["link"] == 2
    assert held() == before


def test_without_a_kernel_it_is_unavailable(access: KernelAccess) -> None:
    with pytest.raises(Unavailable, match=r"^no BTF, say$"):
        tcpretrans.PROBE.start(Environment(None, "no BTF, say", access.walk))
