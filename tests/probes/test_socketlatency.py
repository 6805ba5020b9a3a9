"""Each standstill of a socket is counted once, by how long it was, whatever events are wanted; and nothing else is.

That real standstills are told as they were, over every family, is asserted in tests/faults.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.links import Pair, loopback
from lab.namespace import Namespace
from lab.sockets import datagram, listening, port_of, stream
from lab.standstills import connected
from lab.truth import Family
from otel_netagent.model.event import Event
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import catalogue
from otel_netagent.probing.declaration import Environment, EventSettings
from tests.probes.running import Running, running
from tests.tables import key_of, numbers

MILLISECOND = 1_000_000
THRESHOLD_MS = 30


class Stop(NamedTuple):
    """A standstill was not shorter and not longer than this."""

    least_ns: int
    most_ns: int


def stop_reading(caller: socket.socket, reader: socket.socket, milliseconds: int) -> Stop:
    """Send a little, and let it wait."""
    before_sent = time.monotonic_ns()
    caller.sendall(b"data")
    sent = time.monotonic_ns()
    time.sleep(milliseconds / 1000)
    before_read = time.monotonic_ns()
    reader.recv(4, socket.MSG_WAITALL)
    return Stop(before_read - sent, time.monotonic_ns() - before_sent)


def above(stops: list[Stop], milliseconds: int) -> range:
    """How many standstills may have been longer: one number, but where a busy machine made them hard to tell."""
    bound = milliseconds * MILLISECOND
    return range(sum(stop.least_ns > bound for stop in stops), sum(stop.most_ns > bound for stop in stops) + 1)


@pytest.fixture(scope="module", params=["in_sockets", "in_a_table"])
def access(request: pytest.FixtureRequest, access: KernelAccess) -> KernelAccess:
    """The kernel as it is, and as if it had its BTF in a file, so that nothing can be kept in its sockets."""
    if request.param == "in_sockets" or access.facts is None:
        return access
    elsewhere = dataclasses.replace(access.facts.source, in_kernel=False)
    return dataclasses.replace(access, facts=dataclasses.replace(access.facts, source=elsewhere))


@pytest.fixture(scope="module")
def shared(access: KernelAccess) -> Iterator[Running]:
    with running("socketlatency", access) as probe:
        yield probe


@pytest.fixture
def socketlatency(shared: Running, netns: Namespace) -> Running:
    """The probe, with nothing left of earlier tests."""
    shared.events(netns)
    return shared


@pytest.fixture
def both(netns: Namespace) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection in a namespace: who calls and who is called."""
    with connected(loopback(netns), Family.IPV4) as (caller, reader, _):
        yield caller, reader


def reads(probe: Running, netns: Namespace) -> tuple[int, int]:
    """The counters of reading: above 1 ms and above 100 ms."""
    values = probe.values(netns)
    return values["inspector_pod_socketlatencyread1ms"], values["inspector_pod_socketlatencyread100ms"]


def writes(probe: Running, netns: Namespace) -> tuple[int, int]:
    """The counters of writing: above 1 ms and above 100 ms."""
    values = probe.values(netns)
    return values["inspector_pod_socketlatencywrite1ms"], values["inspector_pod_socketlatencywrite100ms"]


def hold_back(caller: socket.socket, reader: socket.socket, milliseconds: int) -> Stop:
    """Write a little, and let the socket keep it (TCP_CORK, tcp(7))."""
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    before_written = time.monotonic_ns()
    caller.sendall(b"data")
    written = time.monotonic_ns()
    time.sleep(milliseconds / 1000)
    before_sent = time.monotonic_ns()
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    sent = time.monotonic_ns()
    assert reader.recv(4, socket.MSG_WAITALL) == b"data"
    return Stop(before_sent - written, sent - before_written)


# --- Counters and thresholds


def test_a_namespace_where_nothing_waits_has_zeros(socketlatency: Running, netns: Namespace) -> None:
    values = socketlatency.values(netns)
    assert values == dict.fromkeys((series.name for series in catalogue()["socketlatency"].series), 0)


def test_every_part_of_it_is_seen(access: KernelAccess, shared: Running) -> None:
    ways = {hook.purpose: hook.way for hook in shared.probe.hooks}
    assert None not in ways.values()
    by_type = [purpose for purpose, way in ways.items() if way and way.startswith(("tp_btf", "fentry", "fexit"))]
    assert access.facts
    assert len(by_type) == (len(ways) if access.facts.source.in_kernel else 0)


def test_counters_and_events_each_have_bounds_of_their_own(
    access: KernelAccess, netns: Namespace, both: tuple[socket.socket, socket.socket]
) -> None:
    settings = EventSettings(thresholds_ms={"SOCKETLAT_READSLOW": THRESHOLD_MS})
    with running("socketlatency", access, settings) as probe:
        stops = [stop_reading(*both, milliseconds) for milliseconds in (5, 60, 150, 5, 60)]
        events = probe.events(netns)
        above_1ms, above_100ms = reads(probe, netns)
        outcomes = {
            name: value for name, value in probe.values(netns).items() if name.startswith("netagent_events_total{")
        }
    assert above_1ms in above(stops, 1)
    assert above_100ms in above(stops, 100)
    assert len(events) in above(stops, THRESHOLD_MS)
    assert outcomes == {
        "netagent_events_total{SOCKETLAT_READSLOW,emitted}": len(events),
        "netagent_events_total{SOCKETLAT_READSLOW,suppressed}": 0,
        "netagent_events_total{SOCKETLAT_READSLOW,lost}": 0,
    }


def test_writes_are_counted_apart_from_reads(
    socketlatency: Running, netns: Namespace, both: tuple[socket.socket, socket.socket]
) -> None:
    stops = [hold_back(*both, milliseconds) for milliseconds in (10, 20, 150, 30)]
    above_1ms, above_100ms = writes(socketlatency, netns)
    assert above_1ms in above(stops, 1)
    assert above_100ms in above(stops, 100)


def test_a_threshold_above_the_bounds_of_counters_leaves_these_alone(
    access: KernelAccess, netns: Namespace, both: tuple[socket.socket, socket.socket]
) -> None:
    settings = EventSettings(thresholds_ms={"SOCKETLAT_READSLOW": 60_000})
    with running("socketlatency", access, settings) as probe:
        stops = [stop_reading(*both, 150)]
        assert not probe.events(netns)
        assert reads(probe, netns)[1] in above(stops, 100)


def test_a_threshold_of_zero_tells_every_reading(
    access: KernelAccess, netns: Namespace, both: tuple[socket.socket, socket.socket]
) -> None:
    settings = EventSettings(thresholds_ms={"SOCKETLAT_READSLOW": 0})
    with running("socketlatency", access, settings) as probe:
        stops = [stop_reading(*both, 0) for _ in range(5)]
        latencies = [int(event.attributes["netagent.latency_ns"]) for event in probe.events(netns)]
    assert len(latencies) == len(stops)
    assert all(stop.least_ns <= latency <= stop.most_ns for stop, latency in zip(stops, latencies, strict=True))


def test_what_is_wanted_may_change_while_it_counts(
    access: KernelAccess, netns: Namespace, both: tuple[socket.socket, socket.socket]
) -> None:
    stops: list[Stop] = []
    with running("socketlatency", access) as probe:
        for wanted, told in (
            (EventSettings(thresholds_ms={"SOCKETLAT_READSLOW": 60_000}), 0),
            (EventSettings(thresholds_ms={"SOCKETLAT_READSLOW": THRESHOLD_MS}), 1),
            (None, 0),
            (EventSettings(), 1),
        ):
            probe.source.configure(wanted)
            stops.append(stop_reading(*both, 150))
            assert len(probe.events(netns)) == told
            assert reads(probe, netns)[1] in above(stops, 100)


def test_without_events_standstills_are_still_counted(
    access: KernelAccess, netns: Namespace, both: tuple[socket.socket, socket.socket]
) -> None:
    environment = Environment(access.facts, access.no_kernel, access.walk)
    with contextlib.closing(catalogue()["socketlatency"].start(environment)) as probe:
        stops = [stop_reading(*both, 150)]
        namespaces = access.walk.walk.take()
        totals, outcomes, _ = numbers(probe.collect(namespaces))
    assert totals.rows[key_of(netns.inode, namespaces), ()][1] in above(stops, 100)
    assert not outcomes.rows


# --- What is a standstill, and whose


def only(events: list[Event]) -> Event:
    (event,) = events
    return event


def test_the_reader_is_named(
    socketlatency: Running, netns: Namespace, both: tuple[socket.socket, socket.socket]
) -> None:
    caller, reader = both
    caller.sendall(b"data")
    time.sleep(0.15)
    with subprocess.Popen(["head", "-c", "4"], stdin=reader.fileno(), stdout=subprocess.PIPE) as head:
        assert head.communicate()[0] == b"data"
    event = only(socketlatency.events(netns))
    assert event.attributes["process.pid"] == head.pid
    assert event.attributes["process.command"] == "head"
    milliseconds = int(event.attributes["netagent.latency_ns"]) // MILLISECOND
    assert event.body.endswith(f" latency={milliseconds} ms pid={head.pid} command=head")


def test_the_writer_is_named(
    socketlatency: Running, netns: Namespace, both: tuple[socket.socket, socket.socket]
) -> None:
    """Though its data go out in another's context: the kernel uncorks by a timer, after 200 ms (tcp(7))."""
    caller, reader = both
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    caller.sendall(b"data")
    reader.recv(4)
    event = only(socketlatency.events(netns))
    assert event.type.name == "SOCKETLAT_SENDSLOW"
    assert event.attributes["process.pid"] == os.getpid()
    assert event.attributes["process.command"] == Path("/proc/thread-self/comm").read_text().rstrip("\n")


def test_a_program_that_looks_has_come(
    socketlatency: Running, netns: Namespace, both: tuple[socket.socket, socket.socket]
) -> None:
    caller, reader = both
    before_sent = time.monotonic_ns()
    caller.sendall(b"data")
    sent = time.monotonic_ns()
    time.sleep(0.15)
    before_looked = time.monotonic_ns()
    reader.recv(4, socket.MSG_PEEK)
    looked = time.monotonic_ns()
    time.sleep(0.15)
    before_read = time.monotonic_ns()
    reader.recv(4)
    stops = (
        Stop(before_looked - sent, looked - before_sent),
        Stop(before_read - looked, time.monotonic_ns() - before_looked),
    )
    latencies = [int(event.attributes["netagent.latency_ns"]) for event in socketlatency.events(netns)]
    assert all(stop.least_ns <= latency <= stop.most_ns for stop, latency in zip(stops, latencies, strict=True))


def test_a_connection_that_waits_to_be_accepted_is_no_data(socketlatency: Running, netns: Namespace) -> None:
    host = loopback(netns).server
    with listening(host, Family.IPV4) as listener, netns.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.connect(listener.getsockname())
        time.sleep(0.15)
        accepted, _ = listener.accept()
        with accepted:
            caller.sendall(b"data")
            accepted.recv(4)
    assert not socketlatency.events(netns)


def test_writes_that_fail_for_want_of_room_leave_nothing(
    socketlatency: Running, netns: Namespace, both: tuple[socket.socket, socket.socket]
) -> None:
    """All that was taken is read at once; the write that was refused must not be counted from then on."""
    caller, reader = both
    caller.setblocking(False)
    reader.settimeout(0.3)
    written = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            written += caller.send(bytes(1 << 16))
    while written:
        written -= len(reader.recv(1 << 16))
    socketlatency.events(netns)
    time.sleep(0.15)
    caller.send(b"data")
    assert reader.recv(4) == b"data"
    assert not socketlatency.events(netns)


@contextlib.contextmanager
def flow(netns: Namespace, kind: socket.SocketKind) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A sender and a reader, that end with what is unread."""
    host = loopback(netns).client
    if kind == socket.SOCK_DGRAM:
        with datagram(host, Family.IPV4) as reader, datagram(host, Family.IPV4) as sender:
            sender.connect(reader.getsockname())
            yield sender, reader
    else:
        with listening(host, Family.IPV4) as listener, stream(host, Family.IPV4) as sender:
            sender.connect(listener.getsockname())
            reader, _ = listener.accept()
            with reader:
                yield sender, reader


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["UDP", "TCP"])
def test_what_a_socket_leaves_unread_is_not_put_down_to_the_next_at_its_place(
    socketlatency: Running, netns: Namespace, kind: socket.SocketKind
) -> None:
    """The kernel gives its memory to one that is opened later."""
    for _ in range(20):
        with flow(netns, kind) as (sender, _unread):
            sender.send(b"data")
    time.sleep(0.15)
    for _ in range(20):
        with flow(netns, kind) as (sender, reader):
            sender.send(b"data")
            assert reader.recv(4) == b"data"
    assert not socketlatency.events(netns)


def test_ordinary_traffic_makes_no_event(socketlatency: Running, pair: Pair) -> None:
    with connected(pair, Family.IPV6) as (caller, answering, _):
        for _ in range(200):
            caller.sendall(b"request")
            answering.sendall(answering.recv(7))
            caller.recv(7)
    with datagram(pair.server, Family.IPV6) as reader, datagram(pair.client, Family.IPV6) as sender:
        for _ in range(200):
            sender.sendto(b"request", reader.getsockname())
            reader.recv(7)
    assert not socketlatency.events(pair.client.namespace, pair.server.namespace)


def test_datagrams_that_came_before_the_last_reading_still_wait(socketlatency: Running, netns: Namespace) -> None:
    """The first reading takes all of them from the queue in which they arrive to a second one, and leaves the rest."""
    host = loopback(netns).client
    with datagram(host, Family.IPV4) as reader, datagram(host, Family.IPV4) as sender:
        for _ in range(3):
            sender.sendto(b"data", reader.getsockname())
        begin = time.monotonic_ns()
        reader.recv(4)
        first_read = time.monotonic_ns()
        time.sleep(0.15)
        before_read = time.monotonic_ns()
        reader.recv(4)
        stop = Stop(before_read - first_read, time.monotonic_ns() - begin)
    events = [int(event.attributes["netagent.latency_ns"]) for event in socketlatency.events(netns)]
    assert stop.least_ns <= events[-1] <= stop.most_ns


def test_datagrams_that_come_while_others_are_read_are_not_lost_sight_of(
    socketlatency: Running, netns: Namespace
) -> None:
    """No lock keeps the two apart. Whatever the flood left behind, the next standstill is seen, once."""
    host = loopback(netns).client
    with datagram(host, Family.IPV4) as reader, datagram(host, Family.IPV4) as sender:

        def flood() -> None:
            for _ in range(20_000):
                sender.sendto(b"flood", reader.getsockname())

        thread = threading.Thread(target=flood)
        thread.start()
        while thread.is_alive():
            read_all(reader)
        read_all(reader)
        socketlatency.events(netns)
        sender.sendto(b"data", reader.getsockname())
        time.sleep(0.15)
        read_all(reader)
        event = only(socketlatency.events(netns))
        assert event.attributes["source.port"] == port_of(reader)


def read_all(reader: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while reader.recv(8):
            pass
