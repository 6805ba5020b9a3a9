"""Latencies of packets are right by the test's own clock, and a packet counts once on its way over several devices.

That slow packets are told, over both families, is asserted in tests/faults.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from lab.links import Pair, ip_batch
from lab.namespace import Namespace
from lab.sockets import datagram, port_of
from lab.standstills import connected
from lab.states import PSH_ACK, accepted
from lab.truth import Family
from lab.waiting import eventually
from lab.wire import Wire
from otel_netagent.model.event import Event
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probing.attach import Hook
from otel_netagent.probing.declaration import EventSettings
from otel_netagent.probing.receive_timestamps import PART_HOOKS
from tests.probes.running import Running, running

EVERY_PACKET = EventSettings(per_second=1_000_000, thresholds_ms={"RXKERNEL_SLOW": 0, "TXKERNEL_SLOW": 0})


@pytest.fixture(scope="module")
def whole(access: KernelAccess) -> Iterator[Running]:
    """The probe that tells every packet."""
    with running("kernellatency", access, EVERY_PACKET) as probe:
        yield probe


@pytest.fixture
def kernellatency(whole: Running, netns: Namespace) -> Running:
    """The same, when the kernel has begun to stamp packets: it does so some time after it was asked."""

    def stamped() -> list[Event]:
        with netns.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.bind(("127.0.0.1", 0))
            own.sendto(b"", own.getsockname())
        return whole.events(netns)

    eventually(stamped)
    return whole


def latency(event: Event) -> int:
    return int(event.attributes["netagent.latency_ns"])


@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.name)
def test_a_datagram_takes_no_longer_than_from_its_sending_to_its_reading(
    kernellatency: Running, pair: Pair, family: Family
) -> None:
    with datagram(pair.server, family) as reader, datagram(pair.client, family) as sender:
        reader.settimeout(5)
        kernellatency.events()
        for _ in range(20):
            begin = time.monotonic_ns()
            sender.sendto(b"data", reader.getsockname())
            reader.recv(4)
            took = time.monotonic_ns() - begin
            (event,) = kernellatency.events(pair.client.namespace, pair.server.namespace)
            assert (event.type.name, event.netns) == ("RXKERNEL_SLOW", pair.server.namespace.inode)
            assert event.attributes["destination.port"] == port_of(reader)
            assert 0 < latency(event) < took


def test_a_segment_takes_no_longer_than_from_the_wire_to_its_reading(kernellatency: Running, wire: Wire) -> None:
    with accepted(wire, Family.IPV4) as (reader, puppet):
        kernellatency.events(wire.host.namespace)
        begin = time.monotonic_ns()
        puppet.send(PSH_ACK, b"data")
        reader.recv(4)
        took = time.monotonic_ns() - begin
        events = kernellatency.events(wire.host.namespace)
    (received,) = [event for event in events if event.type.name == "RXKERNEL_SLOW"]
    assert received.attributes["source.port"] == puppet.sends.source.port
    assert 0 < latency(received) < took
    assert f" latency:{latency(received) // 1000} us" in received.body


def test_a_segment_takes_no_longer_than_its_write(kernellatency: Running, pair: Pair) -> None:
    with connected(pair, Family.IPV6) as (caller, reader, _):
        kernellatency.events(pair.client.namespace)
        begin = time.monotonic_ns()
        caller.sendall(b"data")
        took = time.monotonic_ns() - begin
        events = kernellatency.events(pair.client.namespace)
        reader.recv(4)
    (sent,) = [event for event in events if event.type.name == "TXKERNEL_SLOW"]
    assert 0 < latency(sent) < took
    assert f" latency={latency(sent) // 1000} us" in sent.body


def test_a_segment_that_passes_two_devices_counts_once(kernellatency: Running, pair: Pair) -> None:
    """A bridge's own device first, then the bridge's port."""
    client = pair.client
    ip_batch(
        client.namespace,
        f"link add br0 address {client.mac} type bridge",
        f"address del {client.ipv4}/24 dev {client.device}",
        f"link set {client.device} master br0",
        "link set br0 up",
        f"address add {client.ipv4}/24 dev br0",
        f"neighbour add {pair.server.ipv4} lladdr {pair.server.mac} dev br0 nud permanent",
    )
    with connected(pair, Family.IPV4) as (caller, reader, _):
        kernellatency.events(client.namespace)
        for _ in range(10):
            caller.sendall(b"data")
            reader.recv(4)
        sent = [event for event in kernellatency.events(client.namespace) if event.type.name == "TXKERNEL_SLOW"]
    assert len(sent) == 10


@pytest.mark.parametrize("hook", PART_HOOKS, ids=lambda hook: hook.purpose)
def test_how_parts_are_seen_is_told_with_each_refusal(whole: Running, hook: Hook) -> None:
    (status,) = [each for each in whole.probe.hooks if each.purpose == hook.purpose]
    tried = [refusal.way for refusal in status.refused] + ([status.way] if status.way else [])
    forms = [form for form in ("fentry", "kprobe") for _ in range(len(hook.methods) // 2)]
    assert [way.partition("/")[0] for way in tried] == forms[: len(tried)]
    assert status.way or len(tried) == len(hook.methods)
    assert all(refusal.reason for refusal in status.refused)


def test_an_event_has_parts_where_they_are_seen_and_nowhere_else(kernellatency: Running, wire: Wire) -> None:
    ways = {status.purpose: status.way for status in kernellatency.probe.hooks}
    with accepted(wire, Family.IPV4) as (reader, puppet):
        kernellatency.events(wire.host.namespace)
        puppet.send(PSH_ACK, b"data")
        reader.recv(4)
        events = kernellatency.events(wire.host.namespace)
    (received,) = [event for event in events if event.type.name == "RXKERNEL_SLOW"]
    parts = [name for name in received.attributes if name.startswith("netagent.latency.")]
    assert bool(parts) == bool(ways["parts of receiving IPv4"])
    assert received.body.partition(" latency:")[2].count(":") == len(parts)
