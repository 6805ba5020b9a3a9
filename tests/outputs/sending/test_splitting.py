"""Splitting: whatever a receiver answers each item has one fate, and a limit costs what is above it alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.outputs.sending import EncodedRequest
from otel_netagent.outputs.sending.outcome import Accepted, Outcome, Refused, Retryable, TooLarge
from otel_netagent.outputs.sending.request_size import FLOOR_BYTES, RequestSize
from otel_netagent.outputs.sending.splitting import Splitting

CONFIGURED = 1 << 20
TOO_LARGE = TooLarge("HTTP status 413: too large")


def request_of(sizes: Sequence[int]) -> EncodedRequest:
    """Items of these sizes, by lines that say which they are."""
    lines = [str(number).encode().ljust(size - 1, b".") + b"\n" for number, size in enumerate(sizes)]
    return EncodedRequest(b"".join(lines), len(sizes))


def halves(request: EncodedRequest) -> tuple[EncodedRequest, EncodedRequest] | None:
    lines = request.body.splitlines(keepends=True)
    middle = len(lines) // 2
    if not middle:
        return None
    return EncodedRequest(b"".join(lines[:middle]), middle), EncodedRequest(
        b"".join(lines[middle:]), len(lines) - middle
    )


def items(request: EncodedRequest) -> list[int]:
    return [int(line.partition(b".")[0]) for line in request.body.splitlines()]


def deliver(
    sizes: Sequence[int],
    answer: Callable[[EncodedRequest], Outcome],
    size: RequestSize | None = None,
    patience_s: float = math.inf,
) -> list[tuple[int, Outcome]]:
    """Send these items until each has its fate: (item, its fate), in the order of their numbers."""
    parts = Splitting(request_of(sizes), halves, size or RequestSize(CONFIGURED), patience_s)
    for part in parts:
        while isinstance(parts.judge(part, answer(part)), Retryable):
            pass
    return sorted(((item, fate) for part, fate in parts.outcomes for item in items(part)), key=lambda each: each[0])


def limited_to(limit: int) -> Callable[[EncodedRequest], Outcome]:
    return lambda part: Accepted() if len(part.body) <= limit else TOO_LARGE


def in_turn(*answers: Outcome) -> Callable[[EncodedRequest], Outcome]:
    """These answers, and acceptance from then on."""
    left = iter(answers)
    return lambda _: next(left, Accepted())


def expected(sizes: Sequence[int], limit: int) -> list[tuple[int, Outcome]]:
    return [(item, Accepted() if size <= limit else TOO_LARGE) for item, size in enumerate(sizes)]


SMALL = st.integers(8, 200)
AROUND_THE_FLOOR = st.integers(FLOOR_BYTES - 500, FLOOR_BYTES + 500)


@given(st.lists(SMALL | AROUND_THE_FLOOR, min_size=1, max_size=30), AROUND_THE_FLOOR)
def test_limit_of_a_receiver_costs_what_is_above_it_alone(sizes: list[int], limit: int) -> None:
    limit = max(limit, FLOOR_BYTES)
    assert deliver(sizes, limited_to(limit)) == expected(sizes, limit)


@given(st.lists(SMALL, min_size=1, max_size=60), st.integers(8, 200))
def test_so_does_one_that_is_too_small_to_be_believed(sizes: list[int], limit: int) -> None:
    runs = [len(list(run)) for large, run in groupby(sizes, lambda size: size > limit) if large]
    if max(runs, default=0) <= 4 and min(sizes) <= limit:
        assert deliver(sizes, limited_to(limit)) == expected(sizes, limit)


ANSWERS = st.sampled_from([Accepted(), Accepted(rejected=1), TOO_LARGE, Retryable("busy"), Refused("never")])


@given(st.lists(SMALL | AROUND_THE_FLOOR, min_size=1, max_size=20), st.lists(ANSWERS, max_size=60))
def test_each_item_has_one_fate_whatever_is_answered(sizes: list[int], answers: list[Outcome]) -> None:
    outcomes = deliver(sizes, in_turn(*answers), patience_s=0.0)
    assert [item for item, _ in outcomes] == list(range(len(sizes)))


@given(st.integers(1, 400), st.integers(1, 200))
def test_rejection_of_everything_costs_nothing_while_there_is_patience(count: int, answers: int) -> None:
    """However long it lasts, one request is tried at a time, and afterwards all goes on as before."""
    sent: list[EncodedRequest] = []
    size = RequestSize(CONFIGURED)

    def answer(part: EncodedRequest) -> Outcome:
        sent.append(part)
        return TOO_LARGE if len(sent) <= answers else Accepted()

    assert deliver([1_000] * count, answer, size) == [(item, Accepted()) for item in range(count)]
    if answers > 50:
        assert size.bytes == CONFIGURED
        assert len(sent) - answers <= 2 * math.log2(count) + 2


def test_requests_that_are_accepted_make_the_next_ones_larger() -> None:
    size = RequestSize(CONFIGURED)
    hundred = [2_000] * 100
    deliver(hundred, limited_to(100_000), size)
    assert size.bytes < 200_000
    for _ in range(40):
        deliver(hundred, limited_to(CONFIGURED), size)
    assert size.bytes >= 200_000


def test_rejection_of_everything_is_a_refusal_in_the_end() -> None:
    sent: list[EncodedRequest] = []

    def answer(part: EncodedRequest) -> Outcome:
        sent.append(part)
        return TOO_LARGE

    outcomes = deliver([1_000] * 300, answer, patience_s=0.0)
    assert [item for item, _ in outcomes] == list(range(300))
    [fate] = {fate for _, fate in outcomes}
    assert isinstance(fate, Refused)
    assert fate.reason == "HTTP status 413: too large (for 1000 bytes: size is hardly the reason)"
    assert len(sent) < 25, "not each item by itself"


def test_outage_amid_a_request_loses_nothing() -> None:
    """What was accepted before the first rejection proves nothing."""
    outcomes = deliver([1_000] * 4, in_turn(Accepted(), *[TOO_LARGE] * 30), RequestSize(2_000))
    assert outcomes == [(item, Accepted()) for item in range(4)]


def test_patience_begins_anew_with_each_outage() -> None:
    given_answer = in_turn(*[TOO_LARGE] * 9, Accepted(), Accepted(), *[TOO_LARGE] * 9)
    sent: list[EncodedRequest] = []

    def answer(part: EncodedRequest) -> Outcome:
        sent.append(part)
        if len(sent) == 11:
            time.sleep(1.1)
        return given_answer(part)

    outcomes = deliver([1_000] * 8, answer, RequestSize(1_000), patience_s=1.0)
    assert outcomes == [(item, Accepted()) for item in range(8)]


def test_outage_after_a_limit_was_met_loses_little() -> None:
    """A receiver that has just accepted a part of what it rejected is believed, but not for ever."""
    outcomes = deliver([1_000] * 400, in_turn(TOO_LARGE, Accepted(), *[TOO_LARGE] * 100))
    assert [item for item, _ in outcomes] == list(range(400))
    assert [fate for _, fate in outcomes].count(TOO_LARGE) == 16


@pytest.mark.parametrize("answer", [Accepted(), Refused("no")])
def test_suspect_is_convicted_by_whatever_else_is_answered(answer: Outcome) -> None:
    assert deliver([10, 10], in_turn(TOO_LARGE, TOO_LARGE, answer, TOO_LARGE)) == [(0, TOO_LARGE), (1, answer)]
