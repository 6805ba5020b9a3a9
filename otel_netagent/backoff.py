"""How long to wait before something is tried again that failed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_MOST_ASKED_S: Final = 300.0
"""The longest that a receiver can keep this agent away: a mistaken `Retry-After` must not silence it for a day."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between tries, in seconds: from about `first_s`, twice as long each time, never above `most_s`."""

    first_s: float = 1.0
    most_s: float = 30.0

    def pauses(self) -> Iterator[float]:
        """The pauses without end, each shortened at random, lest all nodes return to a receiver at once."""
        pause = self.first_s
        while True:
            yield pause * random.SystemRandom().uniform(0.5, 1.0)
            pause = min(2 * pause, self.most_s)

    def wait_s(self, pause: float, asked_s: float | None) -> float:
        """The pause, or longer where the receiver asks for it, within bounds."""
        return max(pause, min(asked_s or 0.0, _MOST_ASKED_S))
