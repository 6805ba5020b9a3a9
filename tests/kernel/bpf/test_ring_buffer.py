"""Records come out of the rings as they went in: all, in order, and at once when somebody waits."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator

import pytest

from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.bpf.ring_buffer import Record, RingBuffers
from tests.kernel.fixtures import CompileBpf
from tests.kernel.held import held
from tests.kernel.producer import Producer, producing

FOREVER_MS = 60_000


@pytest.fixture
def producer(compile_bpf: CompileBpf) -> Iterator[Producer]:
    with producing(compile_bpf) as producer:
        yield producer


@pytest.fixture
def other(compile_bpf: CompileBpf) -> Iterator[Producer]:
    with producing(compile_bpf) as producer:
        yield producer


def test_what_was_written_is_drained_once_and_in_order(producer: Producer) -> None:
    with RingBuffers([producer.ring]) as rings:
        assert rings.drain() == []
        written = producer.write(100)
        assert rings.drain() == [Record(0, content) for content in written]
        assert rings.drain() == []


def test_records_say_which_ring_they_came_from(producer: Producer, other: Producer) -> None:
    with RingBuffers([producer.ring, other.ring]) as rings:
        from_other = other.write(2)
        from_first = producer.write(3)
        records = rings.drain()
    assert [record.content for record in records if record.ring == 0] == from_first
    assert [record.content for record in records if record.ring == 1] == from_other
    assert len(records) == 5


def test_more_than_can_be_read_at_once_is_read_in_turns(producer: Producer, other: Producer) -> None:
    """Nothing is lost or doubled where one reading ends and the next begins, in either ring."""
    written = {0: producer.write(10_000), 1: other.write(5_000)}
    read: dict[int, list[bytes]] = {0: [], 1: []}
    turns = 0
    with RingBuffers([producer.ring, other.ring]) as rings:
        while records := rings.drain():
            turns += 1
            assert len(records) <= 4096
            for record in records:
                read[record.ring].append(record.content)
    assert read == written
    assert turns >= 4


def test_rings_without_records_cannot_be_read(producer: Producer) -> None:
    with RingBuffers([producer.ring]) as rings:
        assert not _readable(rings, 1)
        producer.write()
        rings.drain()
        assert not _readable(rings, 1)


def test_a_record_ends_the_wait(producer: Producer, other: Producer) -> None:
    with RingBuffers([producer.ring, other.ring]) as rings:
        writer = threading.Timer(0.05, other.write)
        writer.start()
        assert _readable(rings, FOREVER_MS)
        writer.join()
        assert [record.ring for record in rings.drain()] == [1]


def test_a_record_that_is_there_already_is_not_waited_for(producer: Producer, other: Producer) -> None:
    written = other.write()
    with RingBuffers([producer.ring, other.ring]) as rings:
        assert _readable(rings, FOREVER_MS)
        assert rings.drain() == [Record(1, written[0])]


def _readable(rings: RingBuffers, within_ms: int) -> bool:
    poll = select.poll()
    poll.register(rings.fd, select.POLLIN)
    return bool(poll.poll(within_ms))


def test_what_is_no_ring_is_named(producer: Producer) -> None:
    before = held()
    with pytest.raises(BpfError, match=r"^ring buffer no_ring: EINVAL "):
        RingBuffers([producer.no_ring])
    with pytest.raises(BpfError, match=r"^ring buffer no_ring: EINVAL "):
        RingBuffers([producer.ring, producer.no_ring])
    assert held() == before


def test_closing_leaves_nothing_open(producer: Producer) -> None:
    def descriptors() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - of numbers

    before = descriptors()
    rings = RingBuffers([producer.ring])
    rings.close()
    rings.close()
    assert descriptors() == before
