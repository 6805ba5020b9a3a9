"""However many label values there are, an owner has a bounded number of rows; nothing is lost, no counter goes back."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.probing.bounded import OTHER, Bounded, LabelValues

LIMIT = 3


def rows(*labels: str) -> dict[LabelValues, tuple[int, ...]]:
    """Each label's value is twice what the one before it has, and 100 more of the second series."""
    return {(label, "x"): (2**number, 100 + 2**number) for number, label in enumerate(labels)}


def test_up_to_the_limit_everything_has_a_row() -> None:
    bounded = Bounded(LIMIT)
    assert bounded.fold(1, rows("a", "b", "c")) == rows("a", "b", "c")
    assert bounded.fold(2, {}) == {}


def test_the_excess_is_one_row() -> None:
    folded = Bounded(LIMIT).fold(1, rows("a", "b", "c", "d", "e"))
    assert folded == rows("a", "b", "c") | {(OTHER, OTHER): (8 + 16, 200 + 8 + 16)}


def test_who_came_first_keeps_the_row() -> None:
    bounded = Bounded(LIMIT)
    bounded.fold(1, rows("a", "b", "c"))
    assert bounded.fold(1, rows("e", "c", "d", "b", "a")).keys() == {*rows("a", "b", "c"), (OTHER, OTHER)}


def test_who_goes_makes_room() -> None:
    bounded = Bounded(LIMIT)
    bounded.fold(1, rows("a", "b", "c", "d"))
    assert bounded.fold(1, rows("a", "c", "d")) == rows("a", "c", "d")


def test_owners_have_nothing_to_do_with_each_other_and_are_forgotten() -> None:
    bounded = Bounded(1)
    bounded.fold(1, rows("a"))
    bounded.fold(2, rows("b"))
    bounded.keep_only({2})
    assert bounded.fold(1, rows("b", "a")).keys() == {("b", "x"), (OTHER, OTHER)}
    assert bounded.fold(2, rows("a", "b")).keys() == {("b", "x"), (OTHER, OTHER)}


@given(st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 100)), max_size=10))
def test_counters_that_grow_and_come_in_any_order_are_whole_and_never_go_back(steps: list[dict[str, int]]) -> None:
    bounded = Bounded(LIMIT)
    counts: Counter[str] = Counter()
    before: dict[LabelValues, tuple[int, ...]] = {}
    for step in steps:
        counts.update(step)
        folded = bounded.fold(1, {(label,): (counts[label],) for label in {**step, **counts}})
        assert len(folded) <= LIMIT + 1
        assert sum(count for (count,) in folded.values()) == counts.total()
        assert all(folded[labels] >= row for labels, row in before.items())
        before = folded
