"""Durations as the kernel side reports and accepts them: in nanoseconds."""

from __future__ import annotations

from typing import Final

from otel_netagent.model.attribute import Attribute

MICROSECOND_NS: Final = 1_000
MILLISECOND_NS: Final = 1_000_000

NEVER_NS: Final = 2**64 - 1
"""A threshold that no duration is above (NEVER of bpf/include/occurrences.h)."""


def duration_text(duration_ns: int) -> str:
    """An integer and its unit: `37 ms`, or `820 us` below a millisecond."""
    if duration_ns >= MILLISECOND_NS:
        return f"{duration_ns // MILLISECOND_NS} ms"
    return f"{duration_ns // MICROSECOND_NS} us"


LATENCY: Final = Attribute(
    "netagent.latency_ns",
    int,
    "how long it took",
    "ns",
    " latency=",
    duration_text,
)
