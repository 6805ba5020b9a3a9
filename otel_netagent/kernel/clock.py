"""The kernel's clocks as Unix time."""

from __future__ import annotations

import time
from typing import Final

_TRIES: Final = 5


def monotonic_to_unix_ns() -> int:
    """What to add to CLOCK_MONOTONIC (ns), the clock of events, for Unix time (ns), as of now.

    Ask again for each batch of events: the wall clock may be set.
    """
    return to_unix_ns(time.CLOCK_MONOTONIC)


def to_unix_ns(clock: int) -> int:
    """What to add to a clock (`time.CLOCK_...`, ns) for Unix time (ns), as of now.

    Of several tries the one whose two clock reads lay closest together: its error is below their distance,
    well under a microsecond.
    """
    best_width, best_offset = 1 << 63, 0
    for _ in range(_TRIES):
        before = time.clock_gettime_ns(clock)
        unix = time.time_ns()
        after = time.clock_gettime_ns(clock)
        if after - before < best_width:
            best_width, best_offset = after - before, unix - (before + after) // 2
    return best_offset
