"""Histograms of durations that eBPF programs keep (bpf/include/histogram.h).

Their bounds stand in the declaration of the series, in seconds; the kernel gets them in nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.bpf.layout import Layout, array_of_integers
from otel_netagent.model.series import Series
from otel_netagent.model.table import Distribution

_NANOSECONDS: Final = 1_000_000_000
_NO_BOUND: Final = 2**64 - 1


class _Histogram(NamedTuple):
    """Members of `struct histogram`."""

    sum_ns: int
    counts: bytes


def set_bounds(bpf_object: BpfObject, series: Series) -> None:
    """Give an object that is not loaded yet the bounds of a series: all its histograms have the same.

    Raises ValueError where there are more than there is room for.
    """
    bounds = bpf_object.variable("histogram_bounds_ns")
    if len(series.bounds) > len(bounds):
        raise ValueError(f"{series.name}: {len(series.bounds)} bounds; {len(bounds)} at most")
    for number in range(len(bounds)):
        bounds[number] = round(series.bounds[number] * _NANOSECONDS) if number < len(series.bounds) else _NO_BOUND


class HistogramReader:
    """Reads the histograms of a series from records of an object: each has one, or is one."""

    def __init__(self, btf: Btf, series: Series, structure: str = "histogram", part: str = "") -> None:
        """Take the layout of the records from `btf`; in `structure`, the histogram is the member `part`."""
        self._bounds = series.bounds
        self._layout = Layout(btf, structure, _Histogram, part)
        self._counts = array_of_integers(btf, "histogram", "counts")

    def sum(self, records: Iterable[bytes]) -> Distribution:
        """What these have observed together: the copies of all CPUs, say. Raises BadRecord."""
        return self._distribution(map(self._layout.read, records))

    def each(self, records: bytes) -> Iterator[Distribution]:
        """What each of many records has observed, which lie end to end. Raises BadRecord."""
        return (self._distribution([record]) for record in self._layout.read_all(records))

    def _distribution(self, histograms: Iterable[_Histogram]) -> Distribution:
        words = ((each.sum_ns, *self._counts.unpack(each.counts)) for each in histograms)
        sum_ns, *counts = map(sum, zip(*words, strict=True))
        return Distribution(tuple(counts[: len(self._bounds) + 1]), sum_ns / _NANOSECONDS)


def above(series: Series, of: Distribution, bound: float) -> int:
    """Occurrences above one of the bounds of the series. Raises ValueError for what is none."""
    return sum(of.counts[series.bounds.index(bound) + 1 :])
