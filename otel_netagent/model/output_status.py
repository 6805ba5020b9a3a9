"""What an output does at this moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutputStatus:
    """State of one output.

    `where` is what it sends to, or where it is to be had; empty: it is off. `lost` counts data points, events or lines
    that it dropped since the agent started.
    """

    name: str
    where: str = ""
    lost: int = 0
