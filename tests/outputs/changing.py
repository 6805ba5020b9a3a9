"""Snapshots as they follow one another: of few tables, rows and pods, so that these come, go, change and stay."""

from __future__ import annotations

from typing import Final, TypeVar

from hypothesis import strategies as st

from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.model.table import Distribution, HistogramTable, RowKey, Table
from tests.outputs.samples import (
    DROPS,
    ESTABLISHED,
    OPENS,
    RTT,
    START_NS,
    TIME_NS,
    make_entity,
    make_snapshot,
    make_table,
)

T = TypeVar("T")

DECLARED: Final = {"tcp": (OPENS, ESTABLISHED, DROPS, RTT), "packetloss": (DROPS,)}
"""The series of these snapshots, by the probes that they may be of."""

_PODS: Final = {
    netns: [make_entity(netns, pod=pod, start_ns=start_ns) for pod in ("a", "b\udc80") for start_ns in (START_NS, 7)]
    for netns in (1, 2, 3)
}
"""Whose a namespace may be, one after another."""


@st.composite
def changing_snapshots(draw: st.DrawFn) -> Snapshot:
    """One of those that follow one another, in any order."""
    present = draw(st.sets(st.sampled_from(sorted(_PODS)), min_size=1))
    entities = tuple(draw(st.sampled_from(_PODS[netns])) for netns in sorted(present))
    netns, no_labels, reasons = st.sampled_from(sorted(present)), st.just(()), st.tuples(st.sampled_from("XY"))
    numbers = st.integers(0, 2**64 - 1)
    distributions = st.builds(Distribution, st.tuples(*[st.integers(0, 2**60)] * 4), st.floats(0, 1e18))
    since_ns = draw(st.sampled_from([0, START_NS + 5]))
    tables: tuple[Table | HistogramTable, ...] = (
        make_table(draw(_rows(netns, no_labels, numbers, 2)), since_ns=since_ns),
        make_table(draw(_rows(netns, reasons, numbers, 1)), DROPS, probe=draw(st.sampled_from(["tcp", "packetloss"]))),
        HistogramTable("tcp", (RTT,), draw(_rows(netns, no_labels, distributions, 1)), since_ns),
    )
    shown = draw(st.permutations(tables))[: draw(st.integers(1, 3))]
    return make_snapshot(*shown, entities=entities, time_ns=draw(st.sampled_from([START_NS - 1, TIME_NS])))


def _rows(
    netns: st.SearchStrategy[int],
    labels: st.SearchStrategy[tuple[str, ...]],
    value: st.SearchStrategy[T],
    columns: int,
) -> st.SearchStrategy[dict[RowKey, tuple[T, ...]]]:
    return st.dictionaries(st.tuples(netns, labels), st.tuples(*[value] * columns), max_size=4)
