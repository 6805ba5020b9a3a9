"""Declaration of a metric series: the one place that names it, for every output and every page."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """How a series behaves over time (OpenTelemetry metrics data model, "Point kinds")."""

    COUNTER = "counter"
    """Monotonic, cumulative since the start of its entity."""
    GAUGE = "gauge"
    """The current value."""
    HISTOGRAM = "histogram"
    """Occurrences by their size, cumulative as a counter, with explicit bounds."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric: an OpenTelemetry instrument and a Prometheus metric family at once.

    `name` is canonical and final: no output adds a suffix to it. `unit` is UCUM, as OpenTelemetry
    wants it (`By`, `{packet}`, `1`). `labels` are the attributes that a point has beside those of
    its entity. `source` says where the kernel keeps the number. `bounds` are a histogram's: upper bounds of its
    buckets, inclusive, ascending and in `unit`; above the last there is one bucket more.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    source: str
    labels: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
