"""Pauses between tries."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.outputs.sending import Backoff


@given(st.floats(0.001, 10), st.floats(0.001, 100))
def test_pauses_double_up_to_the_longest(first_s: float, most_s: float) -> None:
    pauses = list(itertools.islice(Backoff(first_s, most_s).pauses(), 12))
    for number, pause in enumerate(pauses):
        longest = first_s if number == 0 else min(first_s * 2**number, most_s)
        assert longest / 2 <= pause <= longest


@pytest.mark.parametrize(("asked_s", "waits_s"), [(None, 2.0), (1.0, 2.0), (60.0, 60.0), (86_400.0, 300.0)])
def test_receiver_may_ask_for_five_minutes_at_most(asked_s: float | None, waits_s: float) -> None:
    assert Backoff().wait_s(2.0, asked_s) == waits_s
