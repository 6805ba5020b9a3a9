"""What the kernel says of a packet that it drops."""

from __future__ import annotations

from dataclasses import dataclass

from lab.truth import Count, Drop, Flow, Truth


@dataclass(frozen=True, slots=True)
class Verdict:
    """The reason of a drop, and the counter that it moves; empty where it moves none."""

    reason: str
    counter: str = ""

    def truth(self, netns: int, flow: Flow, times: int = 1) -> Truth:
        """The truth of so many packets of one flow that were dropped."""
        counts = (Count(netns, self.counter, times),) if self.counter else ()
        return Truth(drops=(Drop(netns, flow, self.reason, times),), counts=counts)
