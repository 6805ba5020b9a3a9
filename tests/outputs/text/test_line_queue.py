"""Lines that wait: in their order, in bounded memory, and each that is lost is counted."""

from __future__ import annotations

import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.outputs.text.line_queue import LineKind, LineQueue
from tests.outputs.samples import ANY_TEXT

_KINDS = st.sampled_from(LineKind)
_TEXTS = st.lists(st.tuples(_KINDS, ANY_TEXT), min_size=1)
_LINES = st.lists(st.tuples(_KINDS, ANY_TEXT.map(lambda text: text.replace("\n", " "))), min_size=1)
_ROOM_FOR_TEN = 10 * 200
_LINE = "x" * 80


@pytest.fixture
def _hasty() -> Iterator[None]:
    """Threads take turns as often as they can, so that what lacks a lock fails."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def take_all(queue: LineQueue, at_once: int = 1) -> list[bytes]:
    """What a reader that keeps up gets from now on."""
    queue.end()
    written: list[bytes] = []
    while taken := queue.take(at_once):
        content = b"".join(lines.content for lines in taken)
        written.extend(line + b"\n" for line in content.removesuffix(b"\n").split(b"\n"))
        queue.settle(taken, len(content))
    return written


def lost(queue: LineQueue) -> dict[LineKind, int]:
    return {kind: queue.lost(kind) for kind in LineKind}


@given(_LINES, st.integers(1, 4096))
def test_lines_come_out_as_they_went_in(put: list[tuple[LineKind, str]], at_once: int) -> None:
    queue = LineQueue()
    for kind, text in put:
        queue.put(kind, text)
    taken = b"".join(take_all(queue, at_once))
    assert taken == "".join(f"{text}\n" for _, text in put).encode(errors="backslashreplace")
    assert queue.held == 0
    assert lost(queue) == {LineKind.EVENT: 0, LineKind.LOG: 0}


@given(_LINES, st.integers(0, 2_000))
def test_what_does_not_fit_is_counted_and_the_rest_is_what_came_first(
    put: list[tuple[LineKind, str]], capacity: int
) -> None:
    queue = LineQueue(capacity)
    kept = []
    for kind, text in put:
        before = sum(lost(queue).values())
        queue.put(kind, text)
        assert queue.held <= capacity
        if sum(lost(queue).values()) == before:
            kept.append((kind, text))
    assert take_all(queue) == [f"{text}\n".encode(errors="backslashreplace") for _, text in kept]
    counted = Counter(kind for kind, _ in put)
    counted.subtract(kind for kind, _ in kept)
    assert lost(queue) == {kind: counted[kind] for kind in LineKind}


@given(_TEXTS, st.integers(1, 500), st.data())
def test_a_write_that_fails_midway_loses_what_it_did_not_finish(
    put: list[tuple[LineKind, str]], at_once: int, data: st.DataObject
) -> None:
    queue = LineQueue()
    for kind, text in put:
        queue.put(kind, text)
    queue.end()
    expected: Counter[LineKind] = Counter()
    while taken := queue.take(at_once):
        written = data.draw(st.integers(0, sum(len(lines.content) for lines in taken)))
        queue.settle(taken, written)
        each = [(lines.kind, line) for lines in taken for line in lines.content.split(b"\n")[:-1]]
        for kind, line in each:
            written -= len(line) + 1
            expected[kind] += written < 0
    assert lost(queue) == {kind: expected[kind] for kind in LineKind}
    assert queue.held == 0


def test_more_lines_than_one_are_taken_up_to_a_size_and_one_that_is_larger_alone() -> None:
    queue = LineQueue()
    for text in ("a" * 9, "b" * 9, "c" * 30, "d" * 19):
        queue.put(LineKind.LOG, text)
    queue.end()
    sizes = []
    for _ in range(3):
        taken = queue.take(20)
        sizes.append([len(lines.content) for lines in taken])
    assert sizes == [[10, 10], [31], [20]]


def test_what_no_encoding_has_is_escaped() -> None:
    queue = LineQueue()
    queue.put(LineKind.LOG, "name \udc80")
    assert take_all(queue) == [b"name \\udc80\n"]


def test_lines_of_one_text_stay_together_and_are_counted_one_by_one() -> None:
    queue = LineQueue(0)
    queue.put(LineKind.LOG, "what happened\nTraceback\n  where")
    assert queue.lost(LineKind.LOG) == 3
    queue = LineQueue()
    queue.put(LineKind.LOG, "what happened\nTraceback")
    taken = queue.take(1)
    queue.settle(taken, len(b"what happened\n"))
    assert queue.lost(LineKind.LOG) == 1
    queue.put(LineKind.EVENT, "at once")
    queue.put(LineKind.LOG, "with\nothers of them")
    queue.settle(queue.take(100), 0)
    assert (queue.lost(LineKind.EVENT), queue.lost(LineKind.LOG)) == (1, 3)


def test_once_it_overflows_it_takes_nothing_before_all_is_written() -> None:
    """So that there is one gap, and all that follows it has come after it."""
    queue = LineQueue(_ROOM_FOR_TEN)
    _overflow(queue)
    taken = queue.take(1)
    queue.settle(taken, len(taken[0].content))
    queue.put(LineKind.LOG, "short")
    assert queue.lost(LineKind.LOG) == 1
    while queue.held:
        taken = queue.take(1)
        queue.settle(taken, len(taken[0].content))
    queue.put(LineKind.LOG, "after")
    assert queue.lost(LineKind.LOG) == 1
    assert take_all(queue) == [b"after\n"]


def test_what_is_being_written_takes_room_too() -> None:
    queue = LineQueue(_ROOM_FOR_TEN)
    queue.put(LineKind.LOG, _LINE)
    held = queue.held
    assert held > len(_LINE)
    queue.take(1)
    assert queue.held == held


def test_a_line_that_never_fits_stops_no_other() -> None:
    queue = LineQueue(_ROOM_FOR_TEN)
    queue.put(LineKind.EVENT, "x" * _ROOM_FOR_TEN)
    queue.put(LineKind.EVENT, _LINE)
    assert queue.lost(LineKind.EVENT) == 1
    assert take_all(queue) == [f"{_LINE}\n".encode()]


def test_loss_is_reported_once_and_only_when_all_else_is_written() -> None:
    queue = LineQueue(_ROOM_FOR_TEN)
    _overflow(queue)
    queue.put(LineKind.LOG, _LINE)
    assert queue.newly_lost() == {}
    events = queue.lost(LineKind.EVENT)
    take_all(queue)
    assert queue.newly_lost() == {LineKind.EVENT: events, LineKind.LOG: 1}
    assert queue.newly_lost() == {}
    _overflow(queue)
    take_all(queue)
    assert queue.newly_lost() == {LineKind.EVENT: queue.lost(LineKind.EVENT) - events}


@pytest.mark.parametrize("length", [1, 10, 300, 5_000])
def test_memory_is_what_it_says(length: int) -> None:
    """By Python's own account (tracemalloc), whatever the lines' length."""
    capacity = 1 << 20
    queue = LineQueue(capacity)
    tracemalloc.start()
    try:
        while not queue.lost(LineKind.EVENT):
            queue.put(LineKind.EVENT, "x" * length)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.9 * capacity < taken < 1.3 * capacity  # the deque's own slots and Python's headers


@pytest.mark.usefixtures("_hasty")
def test_each_line_of_many_threads_is_taken_or_counted() -> None:
    threads, each = 8, 2_000
    queue = LineQueue(20_000)
    took: list[bytes] = []
    taker = threading.Thread(target=lambda: took.extend(_taken_until_the_end(queue)))
    putters = [
        threading.Thread(target=_put_numbered, args=(queue, number, list(LineKind)[number % 2], each))
        for number in range(threads)
    ]
    for thread in (taker, *putters):
        thread.start()
    for thread in putters:
        thread.join()
    queue.end()
    taker.join()
    assert sum(lost(queue).values()) > 0
    for kind in LineKind:
        of_kind = [line for line in took if line.startswith(kind.value.encode())]
        assert len(of_kind) + queue.lost(kind) == each * threads // 2
    for number in range(threads):
        own = [int(line.split()[2]) for line in took if int(line.split()[1]) == number]
        assert own == sorted(own)
    assert queue.held == 0


def test_the_garbage_collector_may_put_while_a_thread_is_putting() -> None:
    """An exception in a finalizer is written to standard error, wherever its thread is."""
    queue = LineQueue()

    def put_amid_a_put() -> None:
        with queue._changed:
            queue.put(LineKind.LOG, "Exception ignored in ...")

    thread = threading.Thread(target=put_amid_a_put, daemon=True)
    thread.start()
    thread.join(10.0)
    assert not thread.is_alive()
    assert take_all(queue) == [b"Exception ignored in ...\n"]


def _overflow(queue: LineQueue) -> None:
    before = queue.lost(LineKind.EVENT)
    while queue.lost(LineKind.EVENT) == before:
        queue.put(LineKind.EVENT, _LINE)


def _put_numbered(queue: LineQueue, thread: int, kind: LineKind, times: int) -> None:
    for number in range(times):
        queue.put(kind, f"{kind.value} {thread} {number}")


def _taken_until_the_end(queue: LineQueue) -> list[bytes]:
    took: list[bytes] = []
    while taken := queue.take(100):
        content = b"".join(lines.content for lines in taken)
        took.extend(content.splitlines())
        queue.settle(taken, len(content))
    return took
