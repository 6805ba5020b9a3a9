"""Totals never go back, and are exactly what was counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.probing.monotonic import Monotonic

FULL = 2**32

steps = st.integers(min_value=0, max_value=FULL // 2 - 1)


@given(start=st.integers(min_value=0, max_value=FULL - 1), increments=st.lists(steps, max_size=20))
def test_counters_that_overflow_are_carried_on(start: int, increments: list[int]) -> None:
    totals = Monotonic[str, int](1, overflowing=True)
    count = start
    assert totals.totals({"a": {0: (start,)}}) == {"a": (start,)}
    for increment in increments:
        count += increment
        assert totals.totals({"a": {0: (count % FULL,)}}) == {"a": (count,)}


@pytest.mark.parametrize(("fall", "grown"), [(FULL // 2, 0), (FULL // 2 + 1, FULL // 2 - 1)])
def test_a_counter_that_falls_by_more_than_half_of_its_range_was_full(fall: int, grown: int) -> None:
    """One that falls by half of it, or less, began anew."""
    totals = Monotonic[str, int](1, overflowing=True)
    assert totals.totals({"a": {0: (fall,)}}) == {"a": (fall,)}
    assert totals.totals({"a": {0: (0,)}}) == {"a": (fall + grown,)}


@given(st.lists(st.dictionaries(st.integers(0, 3), st.tuples(steps, steps), max_size=4), max_size=12))
def test_what_parts_that_went_have_counted_stays(readings: list[dict[int, tuple[int, int]]]) -> None:
    """Against a model that adds up each life of each part: it ends when the part is missing, or falls."""
    totals = Monotonic[str, int](2)
    expected, before = [0, 0], dict[int, tuple[int, int]]()
    for parts in readings:
        for part, now in parts.items():
            last = before.get(part, (0, 0))
            for column in range(2):
                expected[column] += now[column] - last[column] if now[column] >= last[column] else now[column]
        before = parts
        assert totals.totals({"a": parts}) == {"a": tuple(expected)}


def test_owners_do_not_mix_and_are_forgotten_when_they_are_gone() -> None:
    totals = Monotonic[str, int](1)
    assert totals.totals({"a": {0: (5,)}, "b": {0: (7,)}}) == {"a": (5,), "b": (7,)}
    assert totals.totals({"b": {0: (1,)}}) == {"b": (8,)}
    assert totals.totals({"a": {0: (2,)}, "b": {}}) == {"a": (2,), "b": (8,)}
