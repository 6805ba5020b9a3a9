"""Snapshots as OTLP metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    Gauge,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.sdk.resources import Resource

from otel_netagent import __version__
from otel_netagent.telemetry.delivery.parcel import NO_POD, Parcel, Pod
from otel_netagent.telemetry.otlp.attributes import add_attributes
from otel_netagent.telemetry.otlp.dividing import halves_of_metrics
from otel_netagent.telemetry.rows import RowNames
from otel_netagent.telemetry.series import Kind, Series
from otel_netagent.telemetry.snapshot import AnyTable, HistogramTable, Snapshot, Table


class MetricsEncoder:
    """Encodes snapshots as the resource of the agent, a scope for each probe, a metric for each series.

    `aliases` sends a series under its other names too.
    """

    def __init__(self, resource: Resource, node: str, *, aliases: bool = False) -> None:
        """Encode for the agent that this resource describes, on the node of this name."""
        self._resource = resource_pb2.Resource()
        add_attributes(self._resource.attributes, {key: str(value) for key, value in resource.attributes.items()})
        self._rows = RowNames(node, _labelled_point)
        self._aliases = aliases

    def encode(self, items: Sequence[Snapshot]) -> list[Parcel]:
        """One request with all points of these snapshots."""
        request = ExportMetricsServiceRequest()
        for snapshot in items:
            # Messages are filled where they are: adding a finished one would copy all that is in it.
            self._fill(request.resource_metrics.add(resource=self._resource), snapshot)
        return [Parcel(request.SerializeToString(), sum(map(self.count, items)))]

    def count(self, item: Snapshot) -> int:
        """Number of data points that a snapshot is encoded as."""
        tables: tuple[AnyTable[Any], ...] = (*item.tables, *item.histograms)
        return sum(len(table.rows) * sum(len(self._names(series)) for series in table.series) for table in tables)

    def pod(self, item: Snapshot) -> Pod:  # noqa: ARG002 - whichever it is
        """Nobody's: a snapshot speaks of all pods."""
        return NO_POD

    def contents(self, parcel: Parcel) -> Mapping[Pod, int]:
        """All points as nobody's."""
        return {NO_POD: parcel.count}

    def halves(self, parcel: Parcel) -> tuple[Parcel, Parcel] | None:
        """The same as two requests; None if there is only one point."""
        return halves_of_metrics(parcel)

    def _fill(self, message: ResourceMetrics, snapshot: Snapshot) -> None:
        scopes: dict[str, ScopeMetrics] = {}

        def scope_of(probe: str) -> ScopeMetrics:
            if probe not in scopes:
                scope = InstrumentationScope(name=f"otel_netagent.{probe}", version=__version__)
                scopes[probe] = message.scope_metrics.add(scope=scope)
            return scopes[probe]

        of_tables, of_histograms = self._rows.of(snapshot)
        for table, rows in zip(snapshot.tables, of_tables, strict=True):
            scope = scope_of(table.probe)
            if rows:
                self._add_table(scope, snapshot, table, rows)
        for histogram, rows in zip(snapshot.histograms, of_histograms, strict=True):
            scope = scope_of(histogram.probe)
            if rows:
                self._add_histograms(scope, snapshot, histogram, rows)

    def _add_table(
        self, scope: ScopeMetrics, snapshot: Snapshot, table: Table, rows: Sequence[NumberDataPoint]
    ) -> None:
        starts = [_start_ns(snapshot, table, netns) for netns, _ in table.rows]
        for series, column in zip(table.series, zip(*table.rows.values(), strict=True), strict=True):
            for name in self._names(series):
                metric = scope.metrics.add(name=name, unit=series.unit, description=series.help)
                points = _data(metric, series.kind).data_points
                for row, start_ns, value in zip(rows, starts, column, strict=True):
                    point = points.add()
                    point.CopyFrom(row)
                    point.time_unix_nano = snapshot.time_ns
                    if series.kind is Kind.COUNTER:
                        point.start_time_unix_nano = start_ns
                    _set_value(point, value)

    def _add_histograms(
        self, scope: ScopeMetrics, snapshot: Snapshot, table: HistogramTable, rows: Sequence[NumberDataPoint]
    ) -> None:
        starts = [_start_ns(snapshot, table, netns) for netns, _ in table.rows]
        for series, column in zip(table.series, zip(*table.rows.values(), strict=True), strict=True):
            for name in self._names(series):
                metric = scope.metrics.add(name=name, unit=series.unit, description=series.help)
                metric.histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
                for row, start_ns, distribution in zip(rows, starts, column, strict=True):
                    metric.histogram.data_points.add(
                        attributes=row.attributes,
                        start_time_unix_nano=start_ns,
                        time_unix_nano=snapshot.time_ns,
                        count=sum(distribution.counts),
                        sum=distribution.sum,
                        bucket_counts=distribution.counts,
                        explicit_bounds=series.bounds,
                    )

    def _names(self, series: Series) -> tuple[str, ...]:
        return (series.name, *series.aliases) if self._aliases else (series.name,)


def _labelled_point(labels: Mapping[str, str]) -> NumberDataPoint:
    """A point that has its attributes only: to copy it costs a fraction of building them again."""
    point = NumberDataPoint()
    add_attributes(point.attributes, labels)
    return point


def _start_ns(snapshot: Snapshot, table: AnyTable[Any], netns: int) -> int:
    """When the row began to count; never after the point itself, which the clocks of different sources could say."""
    return min(max(snapshot.entities[netns].start_ns, table.since_ns), snapshot.time_ns)


def _data(metric: Metric, kind: Kind) -> Sum | Gauge:
    if kind is Kind.GAUGE:
        return metric.gauge
    metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
    metric.sum.is_monotonic = True
    return metric.sum


def _set_value(point: NumberDataPoint, value: int) -> None:
    try:
        point.as_int = value
    except ValueError:  # beyond 64 bits with sign, as the kernel's "no limit" is
        point.as_double = value
