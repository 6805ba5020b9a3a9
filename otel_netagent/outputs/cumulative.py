"""Histograms as Prometheus has them: cumulative buckets, sum and count ("Exposition formats", "Histograms")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import NamedTuple

from otel_netagent.model.series import Series
from otel_netagent.model.table import Distribution


class Sample(NamedTuple):
    """One number of a histogram: what follows the name of the series, and, of a bucket, the value of its label `le`."""

    suffix: str
    le: str
    value: float


def samples_of(series: Series) -> Callable[[Distribution], Iterator[Sample]]:
    """What gives the samples of one value of this series."""
    bounds = (*map(repr, series.bounds), "+Inf")

    def samples(distribution: Distribution) -> Iterator[Sample]:
        for bound, count in zip(bounds, accumulate(distribution.counts), strict=True):
            yield Sample("_bucket", bound, count)
        yield Sample("_sum", "", distribution.sum)
        yield Sample("_count", "", sum(distribution.counts))

    return samples
