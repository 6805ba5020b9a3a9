"""Tables of numbers: a column a series, a row a network namespace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from otel_netagent.model.series import Series

RowKey: TypeAlias = tuple[int, tuple[str, ...]]
"""(inode number of the network namespace, values of the table's labels)."""

Values: TypeAlias = tuple[int, ...]
"""One value for each series of the table, in its order."""


class Distribution(NamedTuple):
    """Value of a histogram: occurrences by bucket, with the one above the last bound; sum in the unit of the series."""

    counts: tuple[int, ...]
    sum: float


ValueT = TypeVar("ValueT", int, Distribution)


@dataclass(frozen=True, slots=True)
class AnyTable(Generic[ValueT]):
    """Values of series that share their labels: a column a series, a row a namespace (and label values).

    A mapping by key, so that a point cannot occur twice. `since_ns` is the Unix time at which the
    source began to count (for the kernel's own counters 0: they count since the namespace exists).
    """

    probe: str
    series: tuple[Series, ...]
    rows: Mapping[RowKey, tuple[ValueT, ...]]
    since_ns: int = 0

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels that all series of this table share."""
        return self.series[0].labels


class Table(AnyTable[int]):
    """Counters and gauges."""

    __slots__ = ()


class HistogramTable(AnyTable[Distribution]):
    """Histograms."""

    __slots__ = ()
