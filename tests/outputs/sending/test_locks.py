"""Each lock of a delivery keeps out who comes in the midst."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from otel_netagent.outputs.sending import NO_POD, Cause, Delivery, EncodedRequest, Limits, PodName, SpoolPlace
from otel_netagent.outputs.sending.outage_log import OutageLog
from otel_netagent.outputs.sending.outbox import Outbox
from otel_netagent.outputs.sending.queue import ItemQueue
from otel_netagent.outputs.sending.spool import Spool
from otel_netagent.outputs.sending.statistics import DeliveryCounters
from tests.outputs.rival import Crossing, Rival
from tests.outputs.sending.deliveries import NOTHING, lines
from tests.outputs.sending.numbers import Numbers, Steady, make_request


class _Disk:
    """A spool that keeps what it is given in memory, and lets a rival come whenever it is used."""

    def __init__(self) -> None:
        self.rival: Callable[[], object] = lambda: None
        self.requests: list[EncodedRequest] = []

    @property
    def bytes(self) -> int:
        self.rival()
        return sum(len(request.body) for request in self.requests)

    def head(self) -> EncodedRequest | None:
        self.rival()
        return self.requests[0] if self.requests else None

    def settle(self) -> None:
        self.rival()
        del self.requests[0]

    def make_room(self, _: EncodedRequest) -> list[EncodedRequest]:
        self.rival()
        return []

    def append(self, request: EncodedRequest) -> None:
        self.rival()
        self.requests.append(request)

    def close(self) -> None:
        self.rival()


def _outbox() -> tuple[Outbox, _Disk]:
    """One request is in the spool, one in memory, and the first of them in hand."""
    disk = _Disk()
    outbox = Outbox(1_000, lambda *_: None)
    outbox.use(cast(Spool, disk))
    outbox.add(make_request(1))
    outbox.keep()
    outbox.take()
    return outbox, disk


_USES: Mapping[str, Callable[[Outbox], object]] = {
    "queued": lambda outbox: outbox.queued,
    "spool_bytes": lambda outbox: outbox.spool_bytes,
    "add": lambda outbox: outbox.add(make_request(2)),
    "end": lambda outbox: outbox.end(),
    "take": lambda outbox: outbox.take(),
    "settle": lambda outbox: outbox.settle(),
    "keep": lambda outbox: outbox.keep(),
    "close": lambda outbox: outbox.close(),
}


@pytest.mark.parametrize("use", _USES)
def test_outbox_is_used_by_one_at_a_time(use: str) -> None:
    outbox, disk = _outbox()
    disk.rival = rival = Rival(lambda: _USES[use](outbox))
    outbox.add(make_request(3))
    rival.check()


@pytest.mark.parametrize("use", ["spool_bytes", "add", "take", "settle", "close"])
def test_outbox_is_let_alone_by_others_while_it_is_used(use: str) -> None:
    outbox, disk = _outbox()
    disk.rival = rival = Rival(lambda: outbox.queued)
    _USES[use](outbox)
    rival.check()


def test_outbox_is_let_alone_while_everything_goes_to_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, disk = _outbox()
    monkeypatch.setattr(outbox, "_memory", Crossing([make_request(2)]))
    disk.rival = rival = Rival(lambda: outbox.queued)
    outbox.keep()
    rival.check()


def test_what_waits_is_counted_while_nothing_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(1_000, lambda *_: None)
    memory = Crossing([make_request(1), make_request(2)])
    monkeypatch.setattr(outbox, "_memory", memory)
    memory.rival = rival = Rival(lambda: outbox.add(make_request(3)))
    assert outbox.queued == 2
    rival.check()
    assert outbox.queued == 3


_QUEUE_USES: Mapping[str, Callable[[ItemQueue[int]], object]] = {
    "put": lambda queue: queue.put(9),
    "wait": lambda queue: queue.wait(),
    "take": lambda queue: queue.take(),
    "items": lambda queue: queue.items(),
    "close": lambda queue: queue.close(),
}


@pytest.mark.parametrize("rivals", _QUEUE_USES)
@pytest.mark.parametrize("use", ["put", "wait", "take", "items"])
def test_queue_is_used_by_one_at_a_time(use: str, rivals: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = ItemQueue[int](Limits(capacity=10, batch=2))
    items = Crossing([1, 2, 3])
    monkeypatch.setattr(queue, "_items", items)
    items.rival = rival = Rival(lambda: _QUEUE_USES[rivals](queue))
    _QUEUE_USES[use](queue)
    rival.check()


class _Contents(dict[PodName, int]):
    """What a request holds, and who comes when it is looked at."""

    def __init__(self, rival: Rival) -> None:
        super().__init__({NO_POD: 1})
        self._rival = rival

    def items(self) -> Iterator[tuple[PodName, int]]:  # type: ignore[override]  # enough to iterate over
        self._rival()
        return iter(super().items())


@pytest.mark.parametrize(("act", "delivered", "failed", "dropped"), [
    (lambda counters: counters.delivered(5), 5, 0, 1),
    (lambda counters: counters.failed(), 0, 1, 1),
    (lambda counters: counters.dropped(Cause.DAMAGED, {NO_POD: 2}), 0, 0, 3),
    (lambda counters: counters.statistics(0, 0), 0, 0, 1),
])  # fmt: skip
def test_counters_are_used_by_one_at_a_time(
    act: Callable[[DeliveryCounters], object], delivered: int, failed: int, dropped: int
) -> None:
    counters = DeliveryCounters()
    rival = Rival(lambda: act(counters))
    counters.dropped(Cause.DAMAGED, _Contents(rival))
    rival.check()
    statistics = counters.statistics(0, 0)
    assert (statistics.delivered, statistics.failed_tries, statistics.dropped[Cause.DAMAGED]) == (
        delivered,
        failed,
        dropped,
    )


class _Count(int):
    """A count into whose addition somebody comes."""

    rival: Callable[[], object] = staticmethod(lambda: None)

    def __add__(self, other: int) -> int:
        self.rival()
        return int(self) + other


@pytest.mark.parametrize(("count", "act"), [
    ("_delivered", lambda counters: counters.delivered(1)),
    ("_failed_tries", lambda counters: counters.failed()),
])  # fmt: skip
def test_no_count_is_lost(count: str, act: Callable[[DeliveryCounters], None], monkeypatch: pytest.MonkeyPatch) -> None:
    counters = DeliveryCounters()
    before = _Count()
    before.rival = rival = Rival(lambda: act(counters))
    monkeypatch.setattr(counters, count, before)
    act(counters)
    rival.check()
    statistics = counters.statistics(0, 0)
    assert statistics.delivered + statistics.failed_tries == 2


class _Causes(set[Cause]):
    """Causes that were logged, and who comes when they are looked at."""

    rival: Callable[[], object] = staticmethod(lambda: None)

    def __contains__(self, cause: object) -> bool:
        found = super().__contains__(cause)
        self.rival()
        return found


def test_loss_that_two_threads_meet_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outage_log = OutageLog("OTLP logs", "nowhere")
    causes = _Causes()
    monkeypatch.setattr(outage_log, "_losses", causes)
    causes.rival = rival = Rival(lambda: outage_log.dropped(Cause.QUEUE_FULL, 1))
    outage_log.dropped(Cause.QUEUE_FULL, 1)
    rival.check()
    assert lines(caplog) == ["OTLP logs: dropped 1 (queue_full); further drops are counted, not logged"]


class _Visited(Numbers):
    """An encoder into whose work somebody comes."""

    def __init__(self) -> None:
        self.rival: Callable[[], object] = lambda: None

    def encode(self, items: Sequence[int]) -> list[EncodedRequest]:
        self.rival()
        return super().encode(items)


def test_batches_are_packed_one_after_the_other() -> None:
    encoder, transport = _Visited(), Steady()
    delivery = Delivery("numbers", encoder, transport, Limits(capacity=1))
    encoder.rival = rival = Rival(lambda: delivery.put(2))
    delivery.put(1)
    delivery.stop()
    delivery.join(time.monotonic() + 10)
    rival.check()
    assert transport.accepted == [1, 2]


def test_what_is_being_packed_is_counted() -> None:
    encoder = _Visited()
    delivery = Delivery("numbers", encoder, Steady(), Limits(capacity=10, batch=10, linger_s=0.01))
    encoder.rival = rival = Rival(lambda: delivery.statistics)
    delivery.put(1)
    delivery.stop()
    delivery.join(time.monotonic() + 10)
    rival.check()


def test_end_waits_for_what_is_being_packed(tmp_path: Path) -> None:
    encoder = _Visited()
    spool = SpoolPlace(tmp_path, 1 << 20)
    delivery = Delivery("numbers", encoder, Steady(), Limits(capacity=10, batch=10, linger_s=60), spool=spool)
    encoder.rival = rival = Rival(lambda: delivery.join(0.0))
    delivery.put(1)
    delivery.stop()
    delivery.join(time.monotonic() + 10)
    rival.check()
    assert delivery.statistics.dropped == NOTHING
    assert delivery.statistics.delivered or delivery.statistics.spool_bytes
