"""The outbox, in any order of events: what was added is sent in its order, waits, or was dropped, and is counted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from otel_netagent.outputs.sending import Cause, EncodedRequest, SpoolPlace
from otel_netagent.outputs.sending.outbox import Outbox
from otel_netagent.outputs.sending.records import record_size
from otel_netagent.outputs.sending.spool import Spool

LIMIT = 100


def numbered(number: int, size: int) -> EncodedRequest:
    """A request of this size, which counts as much as the number that it bears."""
    return EncodedRequest(str(number).zfill(size).encode(), number)


class _InMemory(RuleBasedStateMachine):
    """An outbox without a spool beside the list that it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped: list[tuple[Cause, int]] = []
        self.outbox = Outbox(LIMIT, lambda cause, request: self.dropped.append((cause, request.count)))
        self.waiting: list[EncodedRequest] = []
        self.in_hand: EncodedRequest | None = None
        self.added = 0
        self.sent: list[int] = []
        self.expected: list[tuple[Cause, int]] = []

    @rule(size=st.integers(4, 2 * LIMIT))
    def add(self, size: int) -> None:
        self.added += 1
        self.waiting.append(numbered(self.added, size))
        self.outbox.add(self.waiting[-1])
        oldest = int(self.in_hand is not None)
        while sum(len(request.body) for request in self.waiting) > LIMIT and len(self.waiting) > oldest + 1:
            self.expected.append((Cause.QUEUE_FULL, self.waiting.pop(oldest).count))

    @precondition(lambda self: self.waiting and self.in_hand is None)
    @rule()
    def take(self) -> None:
        self.in_hand = self.outbox.take()
        assert self.in_hand is self.waiting[0]

    @precondition(lambda self: self.in_hand)
    @rule()
    def settle(self) -> None:
        assert self.outbox.settle()
        self.sent.append(self.waiting.pop(0).count)
        self.in_hand = None
        assert not self.outbox.settle(), "there is nothing in hand any more"

    @invariant()
    def each_is_where_it_should_be(self) -> None:
        assert self.dropped == self.expected
        assert self.outbox.queued == sum(request.count for request in self.waiting)
        assert not self.waiting or self.waiting[-1].count == self.added, "the newest is kept"
        kept = [request.count for request in self.waiting]
        assert sorted([*self.sent, *kept, *(count for _, count in self.dropped)]) == list(range(1, self.added + 1))
        assert self.sent == sorted(self.sent)

    def teardown(self) -> None:
        self.outbox.close()
        assert self.dropped == self.expected + [(Cause.SHUTDOWN, request.count) for request in self.waiting]
        assert self.outbox.queued == 0
        self.outbox.add(numbered(self.added + 1, 10))
        assert self.dropped[-1] == (Cause.SHUTDOWN, self.added + 1)


TestInMemory = _InMemory.TestCase


class _OnDisk(RuleBasedStateMachine):
    """An outbox with a spool: what leaves it, and how much there can be."""

    @initialize(limit=st.sampled_from([200, 1_000, 5_000]))
    def open(self, limit: int) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.limit = limit
        self.dropped: list[tuple[Cause, int]] = []
        place = SpoolPlace(Path(self.directory.name), limit)
        spool = Spool(place, lambda count: self.dropped.append((Cause.DAMAGED, count)))
        self.outbox = Outbox(LIMIT, lambda cause, request: self.dropped.append((cause, request.count)))
        self.outbox.use(spool)
        self.added = 0
        self.largest = 0
        self.sent: list[int] = []
        self.in_hand: EncodedRequest | None = None

    @rule(size=st.integers(4, 2 * LIMIT))
    def add(self, size: int) -> None:
        self.added += 1
        request = numbered(self.added, size)
        self.largest = max(self.largest, record_size(request))
        self.outbox.add(request)

    @rule()
    def keep(self) -> None:
        self.outbox.keep()
        assert self.outbox.queued == 0

    @precondition(lambda self: self.in_hand is None and self.added > len(self.sent) + len(self.dropped))
    @rule()
    def take(self) -> None:
        self.in_hand = self.outbox.take()
        assert self.in_hand is not None

    @precondition(lambda self: self.in_hand)
    @rule()
    def settle(self) -> None:
        assert self.in_hand is not None
        assert self.outbox.settle()
        self.sent.append(self.in_hand.count)
        self.in_hand = None

    @invariant()
    def there_is_no_more_than_may_be(self) -> None:
        assert self.outbox.spool_bytes <= max(self.limit, self.largest)

    @invariant()
    def the_oldest_are_dropped_in_their_order(self) -> None:
        assert {cause for cause, _ in self.dropped} <= {Cause.SPOOL_FULL}
        numbers = [count for _, count in self.dropped]
        assert numbers == sorted(numbers)
        assert not self.added or self.added not in numbers, "the newest is kept"

    def teardown(self) -> None:
        if not hasattr(self, "outbox"):
            return
        if self.in_hand is not None:
            self.settle()
        self.outbox.end()
        while (request := self.outbox.take()) is not None:
            self.sent.append(request.count)
            self.outbox.settle()
        self.outbox.close()
        self.directory.cleanup()
        assert self.sent == sorted(self.sent), "in their order"
        assert sorted([*self.sent, *(count for _, count in self.dropped)]) == list(range(1, self.added + 1))


TestOnDisk = _OnDisk.TestCase


def drain(outbox: Outbox) -> Iterable[int]:
    outbox.end()
    while request := outbox.take():
        yield request.count
        outbox.settle()


@given(st.lists(st.integers(4, 2 * LIMIT), min_size=1, max_size=30))
def test_full_memory_drops_the_oldest_and_keeps_the_newest(sizes: list[int]) -> None:
    dropped: list[int] = []
    outbox = Outbox(LIMIT, lambda _, request: dropped.append(request.count))
    for number, size in enumerate(sizes):
        outbox.add(numbered(number, size))
    kept = list(drain(outbox))
    assert dropped + kept == list(range(len(sizes)))
    assert kept
    fitting = sum(sizes[kept[0] :])
    assert fitting <= LIMIT or len(kept) == 1, "the newest alone may be larger than memory may be"
    assert kept[0] == 0 or fitting + sizes[kept[0] - 1] > LIMIT, "no more is dropped than must be"


def test_what_is_in_hand_is_not_dropped_and_neither_is_the_newest() -> None:
    dropped: list[int] = []
    outbox = Outbox(10, lambda _, request: dropped.append(request.count))
    outbox.add(numbered(0, 10))
    assert outbox.take() is not None
    for number in (1, 2, 3):
        outbox.add(numbered(number, 10))
    assert dropped == [1, 2]
    assert outbox.settle()
    assert list(drain(outbox)) == [3]


@pytest.mark.parametrize("taken", [False, True])
def test_end_drops_what_has_no_disk(taken: bool) -> None:
    dropped: list[tuple[Cause, int]] = []
    outbox = Outbox(LIMIT, lambda cause, request: dropped.append((cause, request.count)))
    outbox.add(numbered(1, 10))
    outbox.add(numbered(2, 10))
    if taken:
        outbox.take()
    outbox.close()
    assert dropped == [(Cause.SHUTDOWN, 1), (Cause.SHUTDOWN, 2)]
    assert not outbox.settle(), "too late"
    assert outbox.take() is None
