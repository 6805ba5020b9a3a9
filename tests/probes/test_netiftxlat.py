"""Stays at an interface are right by the test's own clock, and each packet's is told.

That slow queues and drivers are told, over both families, is asserted in tests/faults.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from lab.links import Pair, Router, ip_batch
from lab.namespace import Namespace
from lab.slow_paths import tunnel, tunnel_slow_to
from lab.sockets import datagram, listening, port_of, stream
from lab.truth import Family
from otel_netagent.model.event import Event
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probing.declaration import EventSettings
from tests.probes.running import Running, running

T = TypeVar("T")

EVERY_PACKET = EventSettings(per_second=1_000_000, thresholds_ms={"NETIFTXLAT_QDISC": 0, "NETIFTXLAT_XMIT": 0})
SENT = 20
CLOCKS_APART_NS = 20_000_000
"""How far the kernel's time of an event may be from the test's clock."""


@pytest.fixture(scope="module")
def whole(access: KernelAccess) -> Iterator[Running]:
    """The probe that tells every packet."""
    with running("netiftxlat", access, EVERY_PACKET) as probe:
        yield probe


@pytest.fixture
def netiftxlat(whole: Running, pair: Pair) -> Running:
    """The same, with nothing left of earlier tests."""
    whole.events(pair.client.namespace)
    return whole


def events_during(probe: Running, namespace: Namespace, act: Callable[[], T]) -> tuple[T, list[Event]]:
    """What the act returns, and the events of a namespace until its end.

    They are read as they come: those of every packet of this machine go through the same small buffer.
    """
    events: list[Event] = []
    with ThreadPoolExecutor(1) as actor:
        acting = actor.submit(act)
        while not acting.done():
            events += probe.events(namespace)
    return acting.result(), events + probe.events(namespace)


def send(pair: Pair) -> tuple[int, int]:
    """Datagrams, one after another: the port that they go to, and how long they took together (ns)."""
    with datagram(pair.server, Family.IPV4) as reader, datagram(pair.client, Family.IPV4) as sender:
        reader.settimeout(5)
        begin = time.monotonic_ns()
        for _ in range(SENT):
            sender.sendto(b"data", reader.getsockname())
            reader.recv(4)
        return port_of(reader), time.monotonic_ns() - begin


def stays(events: Iterable[Event], port: int) -> dict[tuple[str, str], list[int]]:
    """Latencies of the packets to a port, by type and interface."""
    found: dict[tuple[str, str], list[int]] = {}
    for event in events:
        if event.attributes.get("destination.port") == port:
            where = event.type.name, str(event.attributes["network.interface.name"])
            found.setdefault(where, []).append(latency_ns(event))
    return found


def latency_ns(event: Event) -> int:
    """How long the stay was."""
    return int(event.attributes["netagent.latency_ns"])


def assert_each_is_told(probe: Running, namespace: Namespace, type_: str, latencies: Sequence[int]) -> None:
    """One event a packet; where another program's packets have filled the buffer, the probe counts what is missing."""
    lost = probe.values(namespace)[f"netagent_events_total{{{type_},lost}}"]
    assert len(latencies) <= SENT <= len(latencies) + lost


def test_a_device_without_a_queue_has_only_transmissions(netiftxlat: Running, pair: Pair) -> None:
    namespace = pair.client.namespace
    (port, took), events = events_during(netiftxlat, namespace, lambda: send(pair))
    (transmitted,) = (found := stays(events, port)).values()
    assert found.keys() == {("NETIFTXLAT_XMIT", pair.client.device)}
    assert_each_is_told(netiftxlat, namespace, "NETIFTXLAT_XMIT", transmitted)
    assert 0 < sum(transmitted) < took


def test_a_packet_that_is_queued_has_both_stays(netiftxlat: Running, pair: Pair) -> None:
    pair.client.namespace.command(
        *f"tc qdisc add dev {pair.client.device} root tbf rate 1gbit burst 100kb limit 100kb".split()
    )
    (port, took), events = events_during(netiftxlat, pair.client.namespace, lambda: send(pair))
    found = stays(events, port)
    assert found.keys() == {(type_, pair.client.device) for type_ in ("NETIFTXLAT_QDISC", "NETIFTXLAT_XMIT")}
    for (type_, _), latencies in found.items():
        assert_each_is_told(netiftxlat, pair.client.namespace, type_, latencies)
    assert sum(sum(latencies) for latencies in found.values()) < took


def test_a_driver_answers_for_its_own_time_only(netiftxlat: Running, pair: Pair) -> None:
    """A bridge sends by a tunnel that is slow, and the tunnel by a device that is not."""
    near, far = tunnel(pair, Family.IPV4)
    ip_batch(
        near.namespace,
        f"link add br0 address {near.mac} type bridge",
        f"address del {near.ipv4}/24 dev {near.device}",
        f"link set {near.device} master br0",
        "link set br0 up",
        f"address add {near.ipv4}/24 dev br0",
        f"neighbour add {far.ipv4} lladdr {far.mac} dev br0 nud permanent",
    )
    with datagram(far, Family.IPV4) as reader, datagram(near, Family.IPV4) as sender:
        with tunnel_slow_to(port_of(reader), near, Family.IPV4):
            begin = time.monotonic_ns()
            there = reader.getsockname()
            _, events = events_during(netiftxlat, near.namespace, lambda: sender.sendto(b"data", there))
            took = time.monotonic_ns() - begin
        found = stays(events, port_of(reader))
    assert found.keys() == {("NETIFTXLAT_XMIT", "br0"), ("NETIFTXLAT_XMIT", "vxlan0")}
    (own,), (tunnels,) = found["NETIFTXLAT_XMIT", "br0"], found["NETIFTXLAT_XMIT", "vxlan0"]
    assert 100_000_000 < tunnels < took
    assert own < took - tunnels


def test_a_packet_inherits_no_wait_of_another_at_its_address(access: KernelAccess, router: Router) -> None:
    """What passes an empty queue by is never dequeued; the pieces that tbf makes of a segment are never queued.

    A busy machine may let a packet really wait, but not since before its connection.
    """
    namespace, (empty, parting) = router.near.namespace, (router.near.device, router.far.device)
    namespace.command(*f"tc qdisc replace dev {empty} root pfifo".split())
    namespace.command(*f"tc qdisc replace dev {parting} root tbf rate 2gbit burst 8000 latency 20ms".split())
    with running("netiftxlat", access) as probe, datagram(router.near, Family.IPV4) as sender:
        for _ in range(3):
            for _ in range(5000):
                sender.sendto(bytes(200), (router.client.ipv4, 9))
            time.sleep(0.15)
            connecting_ns = time.time_ns()
            send_stream(router)
            segments = [each for each in probe.events(namespace) if each.attributes["network.transport"] == "tcp"]
            assert not [each for each in segments if each.time_ns - latency_ns(each) < connecting_ns - CLOCKS_APART_NS]


def send_stream(router: Router) -> None:
    """20 MB from the router to the server."""
    with listening(router.server, Family.IPV4) as listener, stream(router.far, Family.IPV4) as caller:
        caller.connect((router.server.ipv4, port_of(listener)))
        accepted, _ = listener.accept()
        with accepted, ThreadPoolExecutor(1) as sink:
            read = sink.submit(lambda: sum(iter(lambda: len(accepted.recv(1 << 20)), 0)))
            caller.sendall(bytes(20_000_000))
            caller.shutdown(socket.SHUT_WR)
            assert read.result() == 20_000_000
