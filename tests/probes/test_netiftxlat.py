"""Stays at an interface are right by the test's own clock, and each packet's is told.

That slow queues and drivers are told, over both families, is asserted in tests/faults.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probing.declaration import EventSettings
from tests.lab.links import Pair, Router, ip_batch
from tests.lab.slow_paths import tunnel, tunnel_slow_to
from tests.lab.sockets import datagram, listening, port_of, stream
from tests.lab.truth import Family
from tests.probes.running import Running, running

EVERY_PACKET = EventSettings(per_second=1_000_000, thresholds_ms={"NETIFTXLAT_QDISC": 0, "NETIFTXLAT_XMIT": 0})
SENT = 20


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


def send(pair: Pair) -> tuple[int, int]:
    """Datagrams, one after another: the port that they go to, and how long they took together (ns)."""
    with datagram(pair.server, Family.IPV4) as reader, datagram(pair.client, Family.IPV4) as sender:
        reader.settimeout(5)
        begin = time.monotonic_ns()
        for _ in range(SENT):
            sender.sendto(b"data", reader.getsockname())
            reader.recv(4)
        return port_of(reader), time.monotonic_ns() - begin


def stays(probe: Running, pair: Pair, port: int) -> dict[tuple[str, str], list[int]]:
    """Latencies of the packets to a port, by type and interface."""
    found: dict[tuple[str, str], list[int]] = {}
    for event in probe.events(pair.client.namespace):
        if event.attributes.get("destination.port") == port:
            where = event.type.name, str(event.attributes["network.interface.name"])
            found.setdefault(where, []).append(int(event.attributes["netagent.latency_ns"]))
    return found


def test_a_device_without_a_queue_has_only_transmissions(netiftxlat: Running, pair: Pair) -> None:
    port, took = send(pair)
    (transmitted,) = (found := stays(netiftxlat, pair, port)).values()
    assert found.keys() == {("NETIFTXLAT_XMIT", pair.client.device)}
    assert len(transmitted) == SENT
    assert 0 < sum(transmitted) < took


def test_a_packet_that_is_queued_has_both_stays(netiftxlat: Running, pair: Pair) -> None:
    pair.client.namespace.command(
        *f"tc qdisc add dev {pair.client.device} root tbf rate 1gbit burst 100kb limit 100kb".split()
    )
    port, took = send(pair)
    found = stays(netiftxlat, pair, port)
    assert {where: len(latencies) for where, latencies in found.items()} == {
        ("NETIFTXLAT_QDISC", pair.client.device): SENT,
        ("NETIFTXLAT_XMIT", pair.client.device): SENT,
    }
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
            sender.sendto(b"data", reader.getsockname())
            took = time.monotonic_ns() - begin
        found = stays(netiftxlat, pair, port_of(reader))
    assert found.keys() == {("NETIFTXLAT_XMIT", "br0"), ("NETIFTXLAT_XMIT", "vxlan0")}
    (own,), (tunnels,) = found["NETIFTXLAT_XMIT", "br0"], found["NETIFTXLAT_XMIT", "vxlan0"]
    assert 100_000_000 < tunnels < took
    assert own < took - tunnels


def test_a_packet_inherits_no_wait_of_another_at_its_address(access: KernelAccess, router: Router) -> None:
    """What passes an empty queue by is never dequeued; the pieces that tbf makes of a segment are never queued."""
    namespace, (empty, parting) = router.near.namespace, (router.near.device, router.far.device)
    namespace.command(*f"tc qdisc replace dev {empty} root pfifo".split())
    namespace.command(*f"tc qdisc replace dev {parting} root tbf rate 2gbit burst 8000 latency 20ms".split())
    with running("netiftxlat", access) as probe, datagram(router.near, Family.IPV4) as sender:
        for _ in range(3):
            for _ in range(5000):
                sender.sendto(bytes(200), (router.client.ipv4, 9))
            time.sleep(0.15)
            with listening(router.server, Family.IPV4) as listener, stream(router.far, Family.IPV4) as caller:
                caller.connect((router.server.ipv4, port_of(listener)))
                accepted, _ = listener.accept()
                with accepted, ThreadPoolExecutor(1) as sink:
                    read = sink.submit(lambda: sum(iter(lambda: len(accepted.recv(1 << 20)), 0)))  # noqa: B023
                    caller.sendall(bytes(20_000_000))
                    caller.shutdown(socket.SHUT_WR)
                    assert read.result() == 20_000_000
        assert not probe.events(namespace)
