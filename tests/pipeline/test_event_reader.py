"""Events reach the outputs: at once, in their order, with their entity; what is no event is only counted."""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.waiting import eventually
from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.identity.registry import Registry
from otel_netagent.kernel.bpf.bpf_object import Map
from otel_netagent.kernel.bpf.layout import BadRecord
from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.bpf.ring_buffer import RingBuffers
from otel_netagent.model.attribute import Attribute
from otel_netagent.model.event import Event, EventType
from otel_netagent.pipeline.event_reader import EventReader
from otel_netagent.probing.declaration import EventSource
from tests.kernel.fixtures import CompileBpf
from tests.kernel.producer import Producer, producing

NUMBER = Attribute("number", int, "which event it is", before=" number=")

HERE = Path("/proc/self/ns/net").stat().st_ino


@pytest.fixture
def producer(compile_bpf: CompileBpf) -> Iterator[Producer]:
    with producing(compile_bpf) as producer:
        yield producer


@pytest.fixture
def other(compile_bpf: CompileBpf) -> Iterator[Producer]:
    with producing(compile_bpf) as producer:
        yield producer


def decoder(probe: str, time_of: Callable[[int], int] = int) -> Callable[[bytes, int], Event]:
    """Reads the records of a producer: the event with number N happened at `time_of(N)`."""
    kind = EventType("NUMBERED", f"netagent.{probe}", "a producer writes", (NUMBER,))

    def decode(record: bytes, _monotonic_to_unix_ns: int) -> Event:
        (number,) = struct.unpack("=Q", record)
        return Event(probe, kind, time_of(number), HERE, HERE, {NUMBER.name: number})

    return decode


def bad_if_odd(record: bytes, offset: int) -> Event:
    event = decoder("picky")(record, offset)
    if int(event.attributes["number"]) % 2:
        raise BadRecord(f"record {event.attributes['number']} is odd")
    return event


def source(ring: Map, decode: Callable[[bytes, int], Event]) -> EventSource:
    """Events that nobody has to ask for."""
    return EventSource(ring, decode, lambda _wanted: None)


def reader_of(outputs: list[AttributedEvent], *sources: EventSource) -> EventReader:
    return EventReader(sources, Registry(), [outputs.append])


def bodies(events: list[AttributedEvent]) -> list[str]:
    return [attributed.event.body for attributed in events]


def test_an_event_goes_to_the_outputs_at_once_with_its_entity(producer: Producer) -> None:
    told: list[AttributedEvent] = []
    reader = reader_of(told, source(producer.ring, decoder("a")))
    reader.start()
    try:
        producer.write()
        eventually(lambda: told)
    finally:
        reader.stop()
    (attributed,) = told
    assert attributed.entity.netns == HERE
    assert attributed.event.body == "number=0"


def test_every_output_gets_every_event(producer: Producer) -> None:
    first: list[AttributedEvent] = []
    second: list[AttributedEvent] = []
    reader = EventReader([source(producer.ring, decoder("a"))], Registry(), [first.append, second.append])
    producer.write(3)
    reader.stop()
    assert first == second
    assert bodies(first) == ["number=0", "number=1", "number=2"]


def test_stop_reads_what_has_come_until_then(producer: Producer) -> None:
    """More than one reading takes."""
    told: list[AttributedEvent] = []
    reader = reader_of(told, source(producer.ring, decoder("a")))
    producer.write(6_000)
    reader.stop()
    assert [attributed.event.time_ns for attributed in told] == list(range(6_000))


def test_events_that_come_together_go_by_their_time(producer: Producer, other: Producer) -> None:
    """Two CPUs write into a ring in an order that need not be that of their clocks, and two rings in none at all."""
    told: list[AttributedEvent] = []
    reader = reader_of(
        told,
        source(producer.ring, decoder("backwards", lambda number: 100 - 10 * number)),
        source(other.ring, decoder("between", lambda number: 75 + 10 * number)),
    )
    producer.write(4)
    other.write(2)
    reader.stop()
    assert [(each.event.time_ns, each.event.probe) for each in told] == [
        (70, "backwards"),
        (75, "between"),
        (80, "backwards"),
        (85, "between"),
        (90, "backwards"),
        (100, "backwards"),
    ]


def test_a_bad_record_is_discarded_counted_and_said_once(producer: Producer, caplog: pytest.LogCaptureFixture) -> None:
    told: list[AttributedEvent] = []
    reader = reader_of(told, source(producer.ring, bad_if_odd))
    producer.write(10)
    reader.stop()
    assert bodies(told) == [f"number={number}" for number in (0, 2, 4, 6, 8)]
    assert reader.discarded == 5
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.WARNING, "an event record is discarded (further ones are only counted): record 1 is odd")
    ]


def test_a_reader_that_was_never_started_stops(producer: Producer) -> None:
    reader_of([], source(producer.ring, decoder("a"))).stop()


def test_rings_that_cannot_be_read_are_said(
    producer: Producer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_rings: RingBuffers) -> None:
        raise BpfError("ring buffer: EBADF (Bad file descriptor)")

    monkeypatch.setattr(RingBuffers, "drain", fail)
    reader = reader_of([], source(producer.ring, decoder("a")))
    reader.start()
    producer.write()
    eventually(lambda: caplog.messages)
    reader.stop()
    assert caplog.messages == ["events are read no more: ring buffer: EBADF (Bad file descriptor)"]


def test_while_nothing_happens_the_thread_does_nothing(producer: Producer) -> None:
    """It sleeps until there is an event, or somebody wants it to pause; then the kernel has switched to it."""
    told: list[AttributedEvent] = []
    reader = reader_of(told, source(producer.ring, decoder("a")))
    reader.start()
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "events")
    try:
        producer.write()
        eventually(lambda: told and asleep(thread))
        before = switches(thread)
        threading.Event().wait(0.5)
        assert switches(thread) == before
    finally:
        reader.stop()


def asleep(thread: threading.Thread) -> bool:
    """Whether it has not been woken for a while, longer than the pace of its worker."""
    before = switches(thread)
    threading.Event().wait(0.05)
    return switches(thread) == before


def switches(thread: threading.Thread) -> int:
    """How often the thread has given the CPU away by itself, to wait (proc_pid_status(5))."""
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text(encoding="ascii")
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


# --- Other sources


def test_sources_come_and_go_and_nothing_is_lost(producer: Producer, other: Producer) -> None:
    """Not of the one that stays, nor what the one that goes had, nor what the one that comes has already."""
    told: list[AttributedEvent] = []
    staying, going = source(producer.ring, decoder("staying")), source(other.ring, decoder("going"))
    outputs = [told.append]
    reader = EventReader([staying, going], Registry(), outputs)
    reader.start()
    try:
        producer.write(10)
        other.write(3)
        reader.read_from([staying], outputs)
        assert sum(each.event.probe == "going" for each in told) == 3
        other.write(2)  # nobody listens
        producer.write(10)
        coming = source(other.ring, decoder("coming"))
        reader.read_from([staying, coming], outputs)
        producer.write(10)
        eventually(lambda: len(told) == 35)
    finally:
        reader.stop()
    numbers = [each.event.time_ns for each in told if each.event.probe == "staying"]
    assert numbers == list(range(30))
    assert [each.event.time_ns for each in told if each.event.probe == "coming"] == [3, 4]


def test_what_a_source_holds_that_goes_is_read_before_it_goes(producer: Producer, other: Producer) -> None:
    """The reader has not begun, so that nobody but the change reads it."""
    told: list[AttributedEvent] = []
    staying, going = source(producer.ring, decoder("staying")), source(other.ring, decoder("going"))
    reader = EventReader([staying, going], Registry(), [told.append])
    other.write(3)
    try:
        reader.read_from([staying], [told.append])
        assert bodies(told) == ["number=0", "number=1", "number=2"]
    finally:
        reader.stop()


def test_what_a_source_holds_that_comes_is_read(producer: Producer) -> None:
    """A new reader of a ring begins where the last one stopped, not at the end."""
    told: list[AttributedEvent] = []
    for _ in range(3):
        producer.write(2)
        reader_of(told, source(producer.ring, decoder("a"))).stop()
    assert bodies(told) == [f"number={number}" for number in range(6)]


def test_no_event_is_lost_or_doubled_while_sources_change_in_a_flood(producer: Producer, other: Producer) -> None:
    told: list[AttributedEvent] = []
    outputs = [told.append]
    staying, second = source(producer.ring, decoder("staying")), source(other.ring, decoder("second"))
    reader = EventReader([staying], Registry(), outputs)
    reader.start()
    writing = threading.Thread(target=lambda: [producer.write(100) for _ in range(200)])
    writing.start()
    changes = 0
    try:
        while writing.is_alive():
            reader.read_from([staying, second] if changes % 2 else [staying], outputs)
            reader.read_from([staying], outputs)
            changes += 1
        writing.join()
    finally:
        reader.stop()
    assert [each.event.time_ns for each in told] == list(range(20_000))
    assert changes > 1


def test_other_outputs_get_what_comes_from_then_on(producer: Producer) -> None:
    first: list[AttributedEvent] = []
    second: list[AttributedEvent] = []
    sources = [source(producer.ring, decoder("a"))]
    reader = EventReader(sources, Registry(), [first.append])
    reader.start()
    try:
        producer.write()
        eventually(lambda: first)
        reader.read_from(sources, [second.append])
        producer.write()
        eventually(lambda: second)
    finally:
        reader.stop()
    assert [bodies(first), bodies(second)] == [["number=0"], ["number=1"]]


def test_a_reader_without_sources_reads_when_it_gets_some(producer: Producer) -> None:
    told: list[AttributedEvent] = []
    reader = EventReader((), Registry(), ())
    reader.start()
    try:
        producer.write()
        reader.read_from([source(producer.ring, decoder("a"))], [told.append])
        eventually(lambda: told)
        reader.read_from((), [told.append])
        producer.write()
    finally:
        reader.stop()
    assert bodies(told) == ["number=0"]


def test_rings_that_failed_are_read_again_after_a_change(
    producer: Producer, other: Producer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[AttributedEvent] = []
    reader = EventReader([source(producer.ring, decoder("a"))], Registry(), [told.append])

    def fail(_rings: RingBuffers) -> None:
        raise BpfError("ring buffer: EBADF (Bad file descriptor)")

    with monkeypatch.context() as broken:
        broken.setattr(RingBuffers, "drain", fail)
        reader.start()
        producer.write()
        eventually(lambda: caplog.messages)
    try:
        other.write()
        reader.read_from([source(other.ring, decoder("b"))], [told.append])
        eventually(lambda: told)
    finally:
        reader.stop()
    assert len(caplog.messages) == 1


def test_what_is_no_ring_is_said_and_ends_nothing(producer: Producer, caplog: pytest.LogCaptureFixture) -> None:
    reader = EventReader([source(producer.no_ring, decoder("a"))], Registry(), ())
    reader.start()
    reader.stop()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("events are not read: ring buffer no_ring: EINVAL ")
