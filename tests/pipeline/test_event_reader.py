"""Events reach the outputs: at once, in their order, with their entity; what is no event is only counted."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_netagent.identity.registry import Registry
from otel_netagent.kernel.layout import BadRecord
from otel_netagent.kernel.libbpf import BpfError
from otel_netagent.kernel.ring_buffer import RingBuffers
from otel_netagent.pipeline.event_reader import EventReader
from otel_netagent.probing.declaration import EventSource
from otel_netagent.telemetry.event import AttributedEvent, Event, EventType
from tests.kernel.fixtures import CompileBpf
from tests.kernel.producer import Producer, producing
from tests.lab.waiting import eventually

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
    kind = EventType("NUMBERED", f"netagent.{probe}", "a producer writes")

    def decode(record: bytes, _monotonic_to_unix_ns: int) -> Event:
        (number,) = struct.unpack("=Q", record)
        return Event(probe, kind, time_of(number), HERE, HERE, {"number": number}, f"number={number}")

    return decode


def bad_if_odd(record: bytes, offset: int) -> Event:
    event = decoder("picky")(record, offset)
    if int(event.attributes["number"]) % 2:
        raise BadRecord(f"record {event.attributes['number']} is odd")
    return event


def reader_of(outputs: list[AttributedEvent], *sources: EventSource) -> EventReader:
    return EventReader(sources, Registry(), [outputs.append])


def bodies(events: list[AttributedEvent]) -> list[str]:
    return [attributed.event.body for attributed in events]


def test_an_event_goes_to_the_outputs_at_once_with_its_entity(producer: Producer) -> None:
    told: list[AttributedEvent] = []
    reader = reader_of(told, EventSource(producer.ring, decoder("a")))
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
    reader = EventReader([EventSource(producer.ring, decoder("a"))], Registry(), [first.append, second.append])
    producer.write(3)
    reader.stop()
    assert first == second
    assert bodies(first) == ["number=0", "number=1", "number=2"]


def test_stop_reads_what_has_come_until_then(producer: Producer) -> None:
    """More than one reading takes."""
    told: list[AttributedEvent] = []
    reader = reader_of(told, EventSource(producer.ring, decoder("a")))
    producer.write(6_000)
    reader.stop()
    assert [attributed.event.time_ns for attributed in told] == list(range(6_000))


def test_events_that_come_together_go_by_their_time(producer: Producer, other: Producer) -> None:
    """Two CPUs write into a ring in an order that need not be that of their clocks, and two rings in none at all."""
    told: list[AttributedEvent] = []
    reader = reader_of(
        told,
        EventSource(producer.ring, decoder("backwards", lambda number: 100 - 10 * number)),
        EventSource(other.ring, decoder("between", lambda number: 75 + 10 * number)),
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
    reader = reader_of(told, EventSource(producer.ring, bad_if_odd))
    producer.write(10)
    reader.stop()
    assert bodies(told) == [f"number={number}" for number in (0, 2, 4, 6, 8)]
    assert reader.discarded == 5
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.WARNING, "an event record is discarded (further ones are only counted): record 1 is odd")
    ]


def test_a_reader_that_was_never_started_stops(producer: Producer) -> None:
    reader_of([], EventSource(producer.ring, decoder("a"))).stop()


def test_rings_that_cannot_be_read_are_said(
    producer: Producer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_rings: RingBuffers, _timeout_ms: int) -> None:
        raise BpfError("ring buffer: EBADF (Bad file descriptor)")

    monkeypatch.setattr(RingBuffers, "poll", fail)
    reader = reader_of([], EventSource(producer.ring, decoder("a")))
    reader.start()
    eventually(lambda: caplog.messages)
    reader.stop()
    assert caplog.messages == ["events are read no more: ring buffer: EBADF (Bad file descriptor)"]
