"""Drops are counted to the number, also in a burst, and told in bounds that hold for each namespace."""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import healthy_tcp
from lab.links import Pair, loopback
from lab.namespace import Namespace
from lab.scenario import Scenario, case_id
from lab.segments import Flag
from lab.sockets import datagram, listening, port_of
from lab.states import led_to
from lab.truth import Family
from lab.waiting import eventually
from lab.wire import Wire
from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import BadRecord
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.proc import processes
from otel_netagent.kernel.symbols import Symbols
from otel_netagent.model.event import Event, Severity
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import catalogue
from otel_netagent.probes import packetloss as packetloss_probe
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment, EventSettings
from tests.kernel.held import held
from tests.probes.running import Running, running
from tests.tables import key_of

BURST = 1_000
PER_SECOND = 100
UDP_HEADER = 8


@pytest.fixture(scope="module")
def shared_packetloss(access: KernelAccess) -> Iterator[Running]:
    with running("packetloss", access) as probe:
        yield probe


@pytest.fixture
def packetloss(shared_packetloss: Running, netns: Namespace) -> Running:
    """The probe, with nothing left of earlier tests."""
    shared_packetloss.events(netns)
    return shared_packetloss


@pytest.fixture
def other_netns(_root: None) -> Iterator[Namespace]:
    with Namespace() as namespace:
        yield namespace


def send_to_nobody(namespace: Namespace, count: int = 1, family: Family = Family.IPV4) -> int:
    """Send datagrams to a port that nobody has; that port."""
    host = loopback(namespace).client
    with datagram(host, family) as once_bound:
        nobody = once_bound.getsockname()
    with namespace.socket(family.sockets, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(b"for nobody", nobody)
    port: int = nobody[1]
    return port


# --- Real drops


def test_a_namespace_without_drops_has_zeros(packetloss: Running, netns: Namespace) -> None:
    values = packetloss.values(netns)
    assert values.keys() == {series.name for series in catalogue()["packetloss"].series if not series.labels}
    assert set(values.values()) == {0}


def drop_at_each_place(wire: Wire, family: Family) -> None:
    """Segments that netfilter drops (one), TCP's state machine (two), tcp_v4_rcv (three) and tcp_v4_do_rcv (four).

    No port but a listener's has a socket; a listener is sent what neither opens a connection nor belongs to one.
    """
    block = "chain input { type filter hook input priority 0; tcp dport 7 drop; }"
    wire.host.namespace.command("nft", "-f", "-", stdin=f"table inet lab {{ {block}; }}")
    with listening(wire.host, family) as listener:
        segments = [(7, Flag.SYN), *[(port_of(listener), Flag.SYN | Flag.FIN)] * 2]
        segments += [*[(9, Flag.SYN)] * 3, *[(port_of(listener), Flag.ACK)] * 4]
        for number, (port, flags) in enumerate(segments):
            wire.puppet(family, 4000 + number, port).send(flags)


@pytest.mark.parametrize("family", [Family.IPV4, Family.IPV6])
def test_drops_are_counted_by_what_part_of_the_kernel_dropped(packetloss: Running, wire: Wire, family: Family) -> None:
    drop_at_each_place(wire, family)
    values = packetloss.values(wire.host.namespace)
    names = ("netfilter", "tcpstatm", "tcprcv", "tcphandle")
    assert {name: values[f"inspector_pod_packetloss_{name}"] for name in names} == {
        "netfilter": 1,
        "tcpstatm": 2,
        "tcprcv": 3,
        "tcphandle": 4,
    }
    assert values["inspector_pod_packetloss_total"] >= 10


def test_a_drop_is_told_when_and_where_it_happened(packetloss: Running, netns: Namespace) -> None:
    before = time.time_ns()
    port = send_to_nobody(netns)
    after = time.time_ns()
    (event,) = packetloss.events(netns)
    assert before - 1_000_000 <= event.time_ns <= after + 1_000_000
    assert event.attributes["destination.port"] == port
    assert event.attributes["netagent.drop.reason"] == "NO_SOCKET"
    assert event.attributes["netagent.packet.length"] == UDP_HEADER + len(b"for nobody")
    frames = str(event.attributes["code.stacktrace"]).split("\n")
    assert frames[0].partition("+")[0] == event.attributes["netagent.drop.location"]
    assert any(frame.startswith("udp_sendmsg+0x") for frame in frames)
    assert event.body.endswith(f" reason:NO_SOCKET  stacktrace:{' '.join(frames)}")


def test_a_stack_is_named_again_after_a_collection(
    packetloss: Running, netns: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a module was, another may lie by now."""
    for _ in range(2):
        send_to_nobody(netns)
    packetloss.events(netns)
    monkeypatch.setattr(Symbols, "name", lambda _symbols, _address: "of_another_module")
    packetloss.values(netns)
    send_to_nobody(netns)
    (event,) = packetloss.events(netns)
    assert set(str(event.attributes["code.stacktrace"]).split("\n")) == {"of_another_module"}


def test_a_burst_is_counted_whole_and_told_in_bounds(
    packetloss: Running, netns: Namespace, other_netns: Namespace
) -> None:
    """The drop of a quiet namespace in the midst of it is told: each has a budget of its own."""
    begin = time.monotonic()
    send_to_nobody(netns, BURST // 2)
    send_to_nobody(other_netns)
    send_to_nobody(netns, BURST // 2)
    seconds = int(time.monotonic()) - int(begin) + 1
    events = packetloss.events(netns, other_netns)
    told = Counter(event.netns for event in events)
    values = packetloss.values(netns)
    assert values["inspector_pod_packetloss_total"] == values["inspector_pod_packetloss_abnormal"] == BURST
    outcomes = {
        name: values[f"netagent_events_total{{PACKETLOSS,{name}}}"] for name in ("emitted", "suppressed", "lost")
    }
    assert sum(outcomes.values()) == BURST
    assert outcomes["lost"] == 0
    assert outcomes["emitted"] == told[netns.inode]
    assert PER_SECOND <= told[netns.inode] <= PER_SECOND * seconds
    assert told[other_netns.inode] == 1
    assert packetloss.values(other_netns)["inspector_pod_packetloss_total"] == 1


def test_counts_never_go_backwards(packetloss: Running, netns: Namespace) -> None:
    seen = []
    for _ in range(5):
        send_to_nobody(netns, 7)
        seen.append(packetloss.values(netns)["inspector_pod_packetloss_total"])
    assert seen == [7, 14, 21, 28, 35]


def test_without_events_drops_are_still_counted(access: KernelAccess, netns: Namespace) -> None:
    environment = Environment(access.facts, access.no_kernel, access.walk)
    probe = catalogue()["packetloss"].start(environment)
    try:
        send_to_nobody(netns, 3)
        namespaces = access.walk.walk.take()
        tables = list(probe.collect(namespaces))
    finally:
        probe.close()
    key = key_of(netns.inode, namespaces), ()
    assert {table.series[0].name: table.rows[key][0] for table in tables if not table.labels} == {
        "inspector_pod_packetloss_total": 3
    }


def test_no_more_places_than_the_limit_have_a_row(
    access: KernelAccess, netns: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packetloss_probe, "LOCATIONS_MAX", 1)
    with running("packetloss", access) as probe:
        send_to_nobody(netns, 3)
        before = rows(probe, netns)
        send_to_nobody(netns, 2, Family.IPV6)
        send_to_nobody(netns, 1)
        after = rows(probe, netns)
    (own,) = before
    assert (before[own], after) == (3, {own: 4, "{other,other}": 2})


def rows(probe: Running, namespace: Namespace) -> dict[str, int]:
    name = "inspector_pod_packetloss{"
    values = probe.values(namespace).items()
    return {each.removeprefix(name[:-1]): value for each, value in values if each.startswith(name)}


def test_expected_drops_are_emitted_where_they_are_asked_for(access: KernelAccess, wire: Wire) -> None:
    """They are counted alike in either case: in total, and not as abnormal."""
    namespace = wire.host.namespace
    with led_to("TCP_TIME_WAIT", wire, Family.IPV4) as puppet:
        pass
    for events, told in ((EventSettings(), []), (EventSettings(expected=True), ["NOT_SPECIFIED"])):
        with running("packetloss", access, events) as probe:
            puppet.send(Flag.ACK)
            found = [event for event in probe.events(namespace) if "TCP" in event.body]
            assert [event.attributes["netagent.drop.reason"] for event in found] == told
            assert [event.type.severity for event in found] == [Severity.INFO] * len(told)
            assert [event.attributes["netagent.expected"] for event in found] == [1] * len(told)
            values = probe.values(namespace)
            assert values["inspector_pod_packetloss{tcp_v4_rcv,NOT_SPECIFIED}"] == 1
            assert values["inspector_pod_packetloss_abnormal"] == 0


CONSUMED = {
    "keepalive_in_ESTABLISHED": "tcp_validate_incoming,TCP_OLD_SEQUENCE",
    "window_probe_with_a_byte": "tcp_validate_incoming,TCP_INVALID_END_SEQUENCE",
    "ACK_in_CLOSE_WAIT": "tcp_rcv_state_process,NOT_SPECIFIED",
    "deferred_handshake": "tcp_v4_rcv,NOT_SPECIFIED",
}
"""Scenarios of healthy TCP in which one segment is freed as if dropped: where, and for what."""


@pytest.mark.parametrize("scenario", [each for each in healthy_tcp.ON_WIRE if each.name in CONSUMED], ids=case_id)
@pytest.mark.parametrize("asked", [False, True])
def test_acks_that_tcp_has_taken_are_counted_and_told_where_they_are_asked_for(
    access: KernelAccess, wire: Wire, scenario: Scenario[Wire], asked: bool
) -> None:
    with running("packetloss", access, EventSettings(expected=asked)) as probe:
        scenario.play(wire, Family.IPV4)
        counted, values = CONSUMED[scenario.name], probe.values(wire.host.namespace)
        found = [
            event for event in probe.events(wire.host.namespace) if "TCP" in event.body and place(event) == counted
        ]
    assert [(event.type.severity, event.attributes["netagent.expected"]) for event in found] == [
        (Severity.INFO, 1)
    ] * asked
    assert values[f"inspector_pod_packetloss{{{counted}}}"] == 1
    assert values["inspector_pod_packetloss_abnormal"] == 0


def place(event: Event) -> str:
    return f"{event.attributes['netagent.drop.location']},{event.attributes['netagent.drop.reason']}"


@pytest.mark.parametrize("family", Family)
def test_what_a_closed_socket_has_not_read_is_no_fault(access: KernelAccess, netns: Namespace, family: Family) -> None:
    """The kernel frees it some time after the close, and the packet leads to no namespace any more."""
    host = loopback(netns).client
    with running("packetloss", access, EventSettings(expected=True)) as probe:
        with datagram(host, family) as reader, netns.socket(family.sockets, socket.SOCK_DGRAM) as sender:
            port = reader.getsockname()[1]
            sender.sendto(b"unread", reader.getsockname())

        def freed() -> list[Event]:
            return [event for event in probe.all_events() if event.attributes.get("destination.port") == port]

        (event,) = eventually(freed)
        assert event.attributes["netagent.expected"] == 1


def echo_request(family: Family, number: int) -> bytes:
    """RFC 792 and 4443; the kernel sums that of ICMPv6 itself."""
    kind = 128 if family.ip == 6 else 8
    message = struct.pack("!BBHHH", kind, 0, 0, 77, number) + bytes(56)
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total & 0xFFFF) + (total >> 16)
    return message[:2] + struct.pack("!H", ~total & 0xFFFF) + message[4:]


def assert_no_fault(probe: Running, namespace: Namespace) -> None:
    """Nothing is told but reports of multicast listening, which an interface that comes up sends in vain (RFC 3810)."""
    events = probe.events(namespace)
    assert [event.body for event in events if " daddr=ff02::16 " not in event.body] == []
    assert probe.values(namespace)["inspector_pod_packetloss_abnormal"] == len(events)


@pytest.mark.parametrize("family", [Family.IPV4, Family.IPV6])
def test_the_answer_to_a_ping_is_no_fault(packetloss: Running, pair: Pair, family: Family) -> None:
    """A raw socket gets a copy of it, and nobody the rest."""
    client = pair.client.namespace
    protocol, reply = (58, 129) if family.ip == 6 else (1, 0)
    with client.socket(family.sockets, socket.SOCK_RAW, protocol) as pinging:
        pinging.settimeout(5)
        for number in range(10):
            pinging.sendto(echo_request(family, number), (pair.server.address(family), 0))
            while (answer := pinging.recv(2048))[0 if family.ip == 6 else 20] != reply:
                assert answer
    eventually(lambda: packetloss.values(client)["inspector_pod_packetloss_total"] >= 10)
    assert_no_fault(packetloss, client)


@pytest.mark.parametrize(
    ("family", "group"),
    [(Family.IPV4, "224.0.0.251"), (Family.IPV4, "broadcast"), (Family.IPV6, "ff02::fb"), (Family.IPV6, "ff02::1")],
)
def test_what_is_sent_to_a_group_and_wanted_by_nobody_is_no_fault(
    packetloss: Running, pair: Pair, family: Family, group: str
) -> None:
    client, server = pair.client, pair.server.namespace
    if group == "broadcast":
        group = str(ipaddress.ip_interface(f"{client.address(family)}/24").network.broadcast_address)
    with datagram(client, family) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if family.ip == 6:
            index = json.loads(client.namespace.command("ip", "-j", "link", "show", client.device))[0]["ifindex"]
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        else:
            own = socket.inet_aton(client.address(family))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        for _ in range(10):
            sender.sendto(b"who is there?", (group, 5353))
    eventually(lambda: packetloss.values(server)["inspector_pod_packetloss_total"] >= 10)
    assert_no_fault(packetloss, server)


def test_a_dropped_segment_is_told_by_its_number(packetloss: Running, wire: Wire) -> None:
    """By which TCPRETRANS, and who has a capture, can find it."""
    puppet = wire.puppet(Family.IPV4, 4000, 9)
    puppet.send(Flag.SYN)
    (event,) = [event for event in packetloss.events(wire.host.namespace) if "TCP" in event.body]
    assert event.attributes["netagent.tcp.sequence"] == puppet.sequence - 1


def test_close_leaves_nothing(access: KernelAccess) -> None:
    before = held()
    with running("packetloss", access):
        assert (held() - before)["link"] == 1
    assert held() == before


def test_without_a_kernel_it_is_unavailable(access: KernelAccess) -> None:
    with pytest.raises(Unavailable, match=r"^no BTF, say$"):
        catalogue()["packetloss"].start(Environment(None, "no BTF, say", access.walk))


# --- Records


@pytest.fixture(scope="module")
def size(kernel: KernelFacts) -> int:
    with BpfObject(kernel.objects / "packetloss.bpf.o", ()) as bpf_object:
        return bpf_object.btf.structure("packetloss_event")[0]


@settings(deadline=None)
@given(data=st.data(), stack_bytes=st.integers(0, 300) | st.integers(0, 2**32 - 1))
def test_no_record_of_the_right_size_breaks_the_reading(
    shared_packetloss: Running, size: int, data: st.DataObject, stack_bytes: int
) -> None:
    record = bytearray(data.draw(st.binary(min_size=size, max_size=size)))
    stack_offset = size - 32 * 8
    struct.pack_into("=I", record, stack_offset - 8, stack_bytes)
    event = shared_packetloss.source.decode(bytes(record), 1_000)
    time_ns, cookie, inode, _kind = struct.unpack_from("=QQII", record)
    assert (event.time_ns, event.netns_cookie, event.netns) == (
        time_ns + 1_000,
        cookie,
        inode or processes.host_netns(),
    )
    assert "\n" not in event.body


@settings(deadline=None)
@given(st.data())
def test_a_record_that_is_cut_is_bad(shared_packetloss: Running, size: int, data: st.DataObject) -> None:
    with pytest.raises(BadRecord):
        shared_packetloss.source.decode(data.draw(st.binary(max_size=size - 8)), 0)
