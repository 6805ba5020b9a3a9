"""Histograms of durations that eBPF programs keep (bpf/include/histogram.h).

Their bounds stand in the declaration of the series, in seconds; the kernel gets them in nanoseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.model.series import Series
from otel_netagent.model.table import Distribution

_NANOSECONDS: Final = 1_000_000_000
_BUCKETS: Final = 32
_WORDS: Final = struct.Struct(f"={1 + _BUCKETS}Q")
_NO_BOUND: Final = 2**64 - 1

SIZE: Final = _WORDS.size
"""Bytes of a `struct histogram`."""


def set_bounds(bpf_object: BpfObject, series: Series) -> None:
    """Give an object that is not loaded yet the bounds of a series: all its histograms have the same.

    Raises ValueError where there are more than 31.
    """
    if len(series.bounds) >= _BUCKETS:
        raise ValueError(f"{series.name}: {len(series.bounds)} bounds; {_BUCKETS - 1} at most")
    bounds = bpf_object.variable("histogram_bounds_ns")
    for number in range(len(bounds)):
        bounds[number] = round(series.bounds[number] * _NANOSECONDS) if number < len(series.bounds) else _NO_BOUND


def distribution(series: Series, histograms: Iterable[bytes]) -> Distribution:
    """What these have observed together: one `struct histogram` each, of a CPU, say."""
    sum_ns, *counts = map(sum, zip(*map(_WORDS.unpack, histograms), strict=True))
    return Distribution(tuple(counts[: len(series.bounds) + 1]), sum_ns / _NANOSECONDS)


def above(series: Series, of: Distribution, bound: float) -> int:
    """Occurrences above one of the bounds of the series. Raises ValueError for what is none."""
    return sum(of.counts[series.bounds.index(bound) + 1 :])
