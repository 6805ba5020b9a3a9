"""Durations are counted in the bucket that the bounds of the series say: of a tiny program that observes to order."""

from __future__ import annotations

import bisect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.bpf.btf_source import BtfSource
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Distribution
from otel_netagent.probing.histogram import HistogramReader, above, set_bounds
from tests.kernel.fixtures import CompileBpf

TINY = r"""
#include "histogram.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct histogram);
} durations SEC(".maps");

__u64 duration;

SEC("raw_tp")
int measure(void *context)
{
	__u32 zero = 0;
	struct histogram *histogram = bpf_map_lookup_elem(&durations, &zero);

	if (histogram)
		observe(histogram, duration);
	return 0;
}
"""

CPU = min(os.sched_getaffinity(0))
MOST = 31


def types_of(path: Path) -> Btf:
    return Btf.load(BtfSource(path, in_kernel=False))


def series(*bounds: float) -> Series:
    return Series("inspector_pod_tiny", Kind.HISTOGRAM, "s", "durations", "a test", bounds=bounds)


@contextmanager
def measuring(compile_bpf: CompileBpf, of: Series) -> Iterator[Callable[..., Distribution]]:
    """A function that has the kernel observe durations (ns), and returns the distribution of all so far."""
    with BpfObject(compile_bpf(TINY), ("measure",)) as tiny:
        set_bounds(tiny, of)
        tiny.load()

        def measure(*durations: int) -> Distribution:
            for each in durations:
                tiny.variable("duration")[0] = each
                tiny.run_on_cpu("measure", CPU)
            _, value = tiny.map("durations").read_all()
            return HistogramReader(tiny.btf, of).sum([value])

        yield measure


def test_nothing_observed_is_zero_in_every_bucket(compile_bpf: CompileBpf) -> None:
    with measuring(compile_bpf, series(0.001, 0.01)) as measure:
        assert measure() == Distribution((0, 0, 0), 0.0)


def test_bounds_are_inclusive_and_in_seconds(compile_bpf: CompileBpf) -> None:
    with measuring(compile_bpf, series(0.000_001, 0.01)) as measure:
        assert measure(0, 1_000).counts == (2, 0, 0)
        assert measure(1_001, 10_000_000).counts == (2, 2, 0)
        assert measure(10_000_001, 2**63).counts == (2, 2, 2)


bounds_ns = st.lists(st.integers(1, 10**10), unique=True, min_size=1, max_size=MOST).map(sorted)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bounds_ns, st.data())
def test_each_duration_is_in_the_bucket_that_a_search_finds(
    compile_bpf: CompileBpf, bounds: list[int], data: st.DataObject
) -> None:
    near = st.sampled_from([bound + distance for bound in bounds for distance in (-1, 0, 1)])
    durations = data.draw(st.lists(near | st.integers(0, 2**40), max_size=40))
    expected = [0] * (len(bounds) + 1)
    for each in durations:
        expected[bisect.bisect_left(bounds, each)] += 1
    with measuring(compile_bpf, series(*(bound / 10**9 for bound in bounds))) as measure:
        assert measure(*durations) == Distribution(tuple(expected), sum(durations) / 10**9)


RAW = [
    b"".join(word.to_bytes(8, "little") for word in (sum_ns, *counts, *[0] * 29))
    for sum_ns, *counts in ((1_500_000_000, 1, 1, 0), (4_000_000_000, 0, 0, 2))
]
"""Two of `struct histogram`."""


def test_histograms_are_added_up(compile_bpf: CompileBpf) -> None:
    reader = HistogramReader(types_of(compile_bpf(TINY)), series(0.5, 1.0))
    assert reader.sum(RAW) == Distribution((1, 1, 2), 5.5)
    assert list(reader.each(b"".join(RAW))) == [Distribution((1, 1, 0), 1.5), Distribution((0, 0, 2), 4.0)]


PART = """
#include "histogram.h"

struct whole {
	__u32 before;
	struct histogram part;
	__u8 after;
};

EXPORT_LAYOUT(whole);
"""


def test_a_histogram_is_read_where_it_is_in_another_structure(compile_bpf: CompileBpf) -> None:
    reader = HistogramReader(types_of(compile_bpf(PART)), series(0.5, 1.0), "whole", part="part")
    records = [b"\xff" * 8 + raw + b"\xff" * 8 for raw in RAW]
    assert reader.sum(records) == Distribution((1, 1, 2), 5.5)
    assert list(reader.each(b"".join(records))) == [Distribution((1, 1, 0), 1.5), Distribution((0, 0, 2), 4.0)]


def test_what_lies_above_a_bound_is_counted() -> None:
    of = series(0.001, 0.01, 0.1)
    assert [above(of, Distribution((8, 4, 2, 1), 0.0), bound) for bound in of.bounds] == [7, 3, 1]
    with pytest.raises(ValueError, match=r"not in tuple"):
        above(of, Distribution((8, 4, 2, 1), 0.0), 0.05)


def test_more_bounds_than_there_is_room_for_are_refused(compile_bpf: CompileBpf) -> None:
    bounds = map(float, range(MOST + 1))
    with (
        BpfObject(compile_bpf(TINY), ("measure",)) as tiny,
        pytest.raises(ValueError, match=r"^inspector_pod_tiny: 32 bounds; 31 at most$"),
    ):
        set_bounds(tiny, series(*bounds))
