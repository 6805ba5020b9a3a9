"""The kernel's event clock and the wall clock are told apart exactly."""

from __future__ import annotations

import time

from otel_netagent.kernel.clock import monotonic_to_unix_ns

MICROSECOND = 1_000


def test_a_moment_of_the_event_clock_is_this_moment_of_unix_time() -> None:
    before = time.time_ns()
    now = time.monotonic_ns() + monotonic_to_unix_ns()
    after = time.time_ns()
    assert before - 100 * MICROSECOND <= now <= after + 100 * MICROSECOND


def test_the_offset_holds_from_one_try_to_the_next() -> None:
    """Both clocks run at the same pace but for steps, which nobody makes here; a try may be preempted, most are not."""
    offsets = sorted(monotonic_to_unix_ns() for _ in range(101))
    assert offsets[75] - offsets[25] < 10 * MICROSECOND
