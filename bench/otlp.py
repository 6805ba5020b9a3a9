"""What it costs to make the bytes of OTLP out of a snapshot, as a node grows, and as its pods come and go.

    .venv/bin/python -m bench.otlp

Each pod has 70 series, one of them a histogram, and in each round other values. The encoder is compared with a tree of
messages that is kept and in which values and times are set.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import chain, cycle
from typing import Final

import click
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from bench.measuring import cpu_cost, print_costs
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Distribution, HistogramTable, RowKey, Table
from otel_netagent.outputs.otlp.attributes import agent_resource
from otel_netagent.outputs.otlp.metrics import MetricsEncoder

_NODE: Final = "node"
_START_NS: Final = 1_700_000_000_000_000_000
_INTERVAL_NS: Final = 5_000_000_000
_HELP: Final = "what is counted, in a sentence as long as those of the probes are"
_PROBES: Final = ("tcp", "tcpext", "udp")
_SERIES: Final = {
    probe: tuple(Series(f"inspector_pod_{probe}{number}", Kind.COUNTER, "1", _HELP, "proc") for number in range(23))
    for probe in _PROBES
}
_RTT: Final = Series(
    "inspector_pod_rtt", Kind.HISTOGRAM, "s", _HELP, "tcp_sock", bounds=tuple(2.0**power for power in range(-16, 4))
)

_ENTITIES: Final = [
    Entity(4_026_532_000 + number, number, EntityKind.POD, f"web-5775dfdc77-{number}", "shop", _START_NS)
    for number in range(1_100)
]


@click.command()
@click.option("--rounds", default=20, show_default=True, help="Measurements of each way.")
def main(rounds: int) -> None:
    """Print what encoding costs."""
    for pods in (110, 1_000):
        [request] = _encoder().encode([next(_snapshots(pods, 0))])
        costs = cpu_cost(_ways(pods), rounds)
        title = f"CPU of one snapshot of {pods:,} pods: {request.count:,} points, {len(request.body) / 1e6:.1f} MB"
        print_costs(title, costs, "the encoder")


def _ways(pods: int) -> dict[str, Callable[[], object]]:
    steady, churning = _encoder(), _encoder()
    tree = _KeptTree(_encoder().encode([next(_snapshots(pods, 0))])[0].body)
    of_encoder, of_churning, of_first, of_tree = (_snapshots(pods, gone) for gone in (0, pods // 10, 0, 0))
    return {
        "a tree of messages": lambda: tree.encode(next(of_tree)),
        "the encoder": lambda: steady.encode([next(of_encoder)]),
        "when a tenth of the pods are others": lambda: churning.encode([next(of_churning)]),
        "at first": lambda: _encoder().encode([next(of_first)]),
    }


def _encoder() -> MetricsEncoder:
    return MetricsEncoder(agent_resource(_NODE, kubernetes=True), _NODE)


def _snapshots(pods: int, gone: int) -> Iterator[Snapshot]:
    """One after another, without end; in each, so many pods of the one before are gone, and as many others there."""
    return cycle([_snapshot(range(turn % 2 * gone, turn % 2 * gone + pods), turn) for turn in range(4)])


def _snapshot(pods: range, turn: int) -> Snapshot:
    """Values as they are after some hours, each of them another one in each turn."""
    entities = [_ENTITIES[number] for number in pods]
    chance = random.Random(turn)  # noqa: S311 - nobody has to be kept from guessing it
    tables = tuple(
        Table(
            probe,
            series,
            {(each.netns_cookie, ()): tuple(chance.choices(range(10**6), k=len(series))) for each in entities},
        )
        for probe, series in _SERIES.items()
    )
    buckets = len(_RTT.bounds) + 1
    trips: dict[RowKey, tuple[Distribution, ...]] = {
        (each.netns_cookie, ()): (Distribution(tuple(chance.choices(range(10**6), k=buckets)), chance.random()),)
        for each in entities
    }
    time_ns = _START_NS + turn * _INTERVAL_NS
    entities_by_cookie = {each.netns_cookie: each for each in entities}
    return Snapshot(time_ns, entities_by_cookie, (*tables, HistogramTable("tcp", (_RTT,), trips)))


class _KeptTree:
    """The other way: the points of a request, kept, and set anew for each snapshot."""

    def __init__(self, body: bytes) -> None:
        """Keep what this request holds."""
        self._request = ExportMetricsServiceRequest.FromString(body)
        metrics = [metric for scope in self._request.resource_metrics[0].scope_metrics for metric in scope.metrics]
        self._numbers = [list(metric.sum.data_points) for metric in metrics if metric.HasField("sum")]
        self._histograms = [list(metric.histogram.data_points) for metric in metrics if metric.HasField("histogram")]

    def encode(self, snapshot: Snapshot) -> bytes:
        """The request with the values of a snapshot that has the same rows."""
        time_ns = snapshot.time_ns
        numbers = (table for table in snapshot.tables if isinstance(table, Table))
        columns = chain.from_iterable(zip(*table.rows.values(), strict=True) for table in numbers)
        for points, column in zip(self._numbers, columns, strict=True):
            for point, value in zip(points, column, strict=True):
                point.as_int = value
                point.time_unix_nano = time_ns
        histograms = (table for table in snapshot.tables if isinstance(table, HistogramTable))
        for of_pods, table in zip(self._histograms, histograms, strict=True):
            for sizes, [distribution] in zip(of_pods, table.rows.values(), strict=True):
                sizes.time_unix_nano = time_ns
                sizes.count = sum(distribution.counts)
                sizes.sum = distribution.sum
                sizes.bucket_counts[:] = distribution.counts
        return self._request.SerializeToString()


if __name__ == "__main__":
    main()
