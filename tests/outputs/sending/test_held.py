"""A delivery that is held while another still uses its spool: it takes everything, and sends nothing yet."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from opentelemetry.sdk.resources import Resource

from lab.waiting import eventually
from otel_netagent.outputs.sending import Cause, Delivery, Limits, SpoolPlace, close_all
from otel_netagent.outputs.sending.sender import SenderContext
from tests.outputs.sending.deliveries import IMPATIENT, NOTHING
from tests.outputs.sending.numbers import Moody, Numbers, Steady

LIMITS = Limits(capacity=100, batch=4)


def test_what_is_held_comes_behind_what_the_other_leaves_in_the_spool(tmp_path: Path) -> None:
    spool = SpoolPlace(tmp_path, 1 << 20)
    away, patient = Moody(), Steady()
    first = Delivery("numbers", Numbers(), away, LIMITS, backoff=IMPATIENT, spool=spool)
    second = Delivery("numbers", Numbers(), patient, LIMITS, backoff=IMPATIENT, spool=spool, held=True)
    for number in range(50):
        second.put(50 + number)
        first.put(number)
    eventually(lambda: first.statistics.queued == 0)
    assert patient.accepted == []
    close_all([first], 0.0)
    second.begin()
    eventually(lambda: second.statistics.delivered == 100)
    close_all([second])
    assert patient.accepted == list(range(100))
    assert first.statistics.dropped == second.statistics.dropped == NOTHING


def test_what_is_held_is_bounded_and_what_is_too_much_is_counted() -> None:
    transport = Steady()
    limits = Limits(capacity=10, batch=1, memory_bytes=100)
    delivery = Delivery("numbers", Numbers(), transport, limits, held=True)
    for number in range(1_000):
        delivery.put(number)
    eventually(lambda: delivery.statistics.queued <= 100)
    delivery.begin()
    eventually(lambda: delivery.statistics.queued == 0)
    close_all([delivery])
    assert delivery.statistics.dropped[Cause.QUEUE_FULL] == 1_000 - len(transport.accepted) > 900
    assert transport.accepted == list(range(1_000 - len(transport.accepted), 1_000))


def test_one_that_was_held_in_vain_ends_at_once_and_touches_no_spool(tmp_path: Path) -> None:
    before = threading.active_count()
    delivery = Delivery("numbers", Numbers(), Steady(), LIMITS, spool=SpoolPlace(tmp_path / "spool", 1000), held=True)
    close_all([delivery], 60.0)
    assert threading.active_count() == before
    assert not (tmp_path / "spool").exists()


class _Closed(Steady):
    closed = False

    def close(self) -> None:
        """Note it."""
        self.closed = True


@pytest.mark.parametrize("thread", ["numbers, packing", "numbers"])
def test_one_whose_thread_cannot_be_started_leaves_nothing(monkeypatch: pytest.MonkeyPatch, thread: str) -> None:
    before, start = threading.active_count(), threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name == thread:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    transport = _Closed()
    with pytest.raises(RuntimeError):
        SenderContext("node", Resource({}), {}, {}, 1 << 20, None).delivery("numbers", Numbers(), transport, LIMITS)
    eventually(lambda: threading.active_count() == before)
    assert transport.closed
