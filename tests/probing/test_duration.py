"""Durations as lines show them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.probing.duration import NEVER_NS, duration_text


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [(0, "0 us"), (999, "0 us"), (820_999, "820 us"), (999_999, "999 us"), (1_000_000, "1 ms"), (37_999_999, "37 ms")],
)
def test_a_duration_is_an_integer_and_its_unit(duration_ns: int, text: str) -> None:
    assert duration_text(duration_ns) == text


@given(st.integers(0, NEVER_NS))
def test_what_is_left_out_is_less_than_one_of_the_unit(duration_ns: int) -> None:
    number, unit = duration_text(duration_ns).split(" ")
    unit_ns = {"us": 1_000, "ms": 1_000_000}[unit]
    assert 0 <= duration_ns - int(number) * unit_ns < unit_ns
    assert (unit == "ms") == (duration_ns >= 1_000_000)
