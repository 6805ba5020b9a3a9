"""How long to wait before a retry."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_MOST_ASKED_S: Final = 300.0
"""The longest pause that a receiver can ask for: a wrong `Retry-After` must not silence the agent for a day."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts, in seconds: from about `first_s`, doubled each time, at most `most_s`."""

    first_s: float = 1.0
    most_s: float = 30.0

    def pauses(self) -> Iterator[float]:
        """Endless pauses, each shortened at random so that the nodes do not all retry at once."""
        pause = self.first_s
        while True:
            yield pause * random.SystemRandom().uniform(0.5, 1.0)
            pause = min(2 * pause, self.most_s)

    def wait_s(self, pause: float, asked_s: float | None) -> float:
        """The pause, or a longer one if the receiver asks for it, within a limit."""
        return max(pause, min(asked_s or 0.0, _MOST_ASKED_S))
