"""Snapshots as OTLP metrics: what is decoded is what the snapshot holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.resources import Resource

from otel_netagent import __version__
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.model.series import Kind
from otel_netagent.model.table import Distribution, HistogramTable, RowKey, Table
from otel_netagent.outputs.otlp.metrics import MetricsEncoder
from otel_netagent.unicode import well_formed
from tests.outputs.changing import changing_snapshots
from tests.outputs.samples import (
    DROPS,
    ESTABLISHED,
    NODE,
    OPENS,
    RTT,
    START_NS,
    TIME_NS,
    make_snapshot,
    make_table,
    snapshots,
)
from tests.tables import numbers

RESOURCE = Resource({"service.name": "otel-netagent"})


def encode(*snapshots: Snapshot, aliases: bool = False) -> ExportMetricsServiceRequest:
    """The request as a receiver sees it: from its bytes."""
    requests = MetricsEncoder(RESOURCE, NODE, aliases=aliases).encode(snapshots)
    return ExportMetricsServiceRequest.FromString(b"".join(request.body for request in requests))


def strings(**attributes: str) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in attributes.items()]


def test_counter_and_gauge_of_a_pod() -> None:
    [resource] = encode(make_snapshot()).resource_metrics
    assert list(resource.resource.attributes) == [
        KeyValue(key="service.name", value=AnyValue(string_value="otel-netagent"))
    ]
    [scope] = resource.scope_metrics
    assert (scope.scope.name, scope.scope.version) == ("otel_netagent.tcp", __version__)
    labels = strings(namespace="shop", netns="ns4026534001", node=NODE, pod="web-0")
    opens = NumberDataPoint(attributes=labels, start_time_unix_nano=START_NS, time_unix_nano=TIME_NS, as_int=7)
    established = NumberDataPoint(attributes=labels, time_unix_nano=TIME_NS, as_int=3)
    assert list(scope.metrics) == [
        Metric(
            name=OPENS.name,
            unit="{connection}",
            description="connections opened",
            sum=Sum(data_points=[opens], is_monotonic=True, aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE),
        ),
        Metric(
            name=ESTABLISHED.name,
            unit="{connection}",
            description="connections established",
            gauge=Gauge(data_points=[established]),
        ),
    ]


def test_histogram_of_a_pod() -> None:
    rows: dict[RowKey, tuple[Distribution, ...]] = {(4026534001, ()): (Distribution((1, 0, 5, 2), 3.5),)}
    [resource] = encode(make_snapshot(HistogramTable("tcpsummary", (RTT,), rows))).resource_metrics
    point = HistogramDataPoint(
        attributes=strings(namespace="shop", netns="ns4026534001", node=NODE, pod="web-0"),
        start_time_unix_nano=START_NS,
        time_unix_nano=TIME_NS,
        count=8,
        sum=3.5,
        bucket_counts=[1, 0, 5, 2],
        explicit_bounds=[0.001, 0.25, 10],
    )
    assert list(resource.scope_metrics[0].metrics) == [
        Metric(
            name=RTT.name,
            unit="s",
            description="round trips",
            histogram=Histogram(data_points=[point], aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE),
        )
    ]


def test_tables_of_a_probe_share_its_scope() -> None:
    tables = (make_table({(4026534001, ()): (1, 2)}), make_table({(4026534001, ("X",)): (3,)}, DROPS))
    [scope] = encode(make_snapshot(*tables)).resource_metrics[0].scope_metrics
    assert [metric.name for metric in scope.metrics] == [OPENS.name, ESTABLISHED.name, DROPS.name]


def test_a_table_without_rows_opens_no_scope() -> None:
    tables = (
        make_table({}, probe="udp"),
        make_table({(4026534001, ()): (1, 2)}),
        make_table({(4026534001, ("X",)): (3,)}, DROPS, probe="udp"),
    )
    scopes = encode(make_snapshot(*tables)).resource_metrics[0].scope_metrics
    assert [scope.scope.name for scope in scopes] == ["otel_netagent.tcp", "otel_netagent.udp"]


def test_a_source_that_began_later_than_its_entity_gives_the_start() -> None:
    for since_ns, start_ns in ((START_NS + 5, START_NS + 5), (TIME_NS + 1, TIME_NS), (0, START_NS)):
        snapshot = make_snapshot(make_table({(4026534001, ()): (1,)}, OPENS, since_ns=since_ns))
        [point] = encode(snapshot).resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points
        assert point.start_time_unix_nano == start_ns


def test_aliases_are_sent_only_when_asked_for() -> None:
    series = type(OPENS)("inspector_pod_a", Kind.COUNTER, "1", "of a", "test", (), ("inspector_pod_b",))
    snapshot = make_snapshot(make_table({(4026534001, ()): (5,)}, series))
    names = {
        aliases: [
            metric.name for metric in encode(snapshot, aliases=aliases).resource_metrics[0].scope_metrics[0].metrics
        ]
        for aliases in (False, True)
    }
    assert names == {False: ["inspector_pod_a"], True: ["inspector_pod_a", "inspector_pod_b"]}


def test_value_beyond_64_bits_with_sign_is_sent_as_the_nearest_double() -> None:
    snapshot = make_snapshot(make_table({(4026534001, ()): (2**64 - 1,)}, ESTABLISHED))
    [point] = encode(snapshot).resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    assert point.as_double == 2.0**64


@given(snapshots(), st.booleans())
def test_every_point_arrives(snapshot: Snapshot, aliases: bool) -> None:
    request = encode(snapshot, aliases=aliases)
    found = [
        (scope.scope.name, name_of(metric), values_of(point))
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if not metric.HasField("histogram")
        for point in (metric.sum if metric.HasField("sum") else metric.gauge).data_points
    ]
    expected = [
        (
            f"otel_netagent.{table.probe}",
            (name, series.unit, series.help, series.kind),
            expected_values(snapshot, table, row, column),
        )
        for table in numbers(in_scopes(snapshot.tables))
        for column, series in enumerate(table.series)
        for name in ((series.name, *series.aliases) if aliases else (series.name,))
        for row in range(len(table.rows))
    ]
    assert found == expected
    histograms = sum(len(table.rows) for table in snapshot.tables if isinstance(table, HistogramTable))
    assert MetricsEncoder(RESOURCE, NODE, aliases=aliases).count(snapshot) == len(found) + histograms


@given(snapshots())
def test_every_histogram_arrives(snapshot: Snapshot) -> None:
    found = {
        metric.name: [
            (labels_of(point), list(point.explicit_bounds), tuple(point.bucket_counts), point.count, point.sum)
            for point in metric.histogram.data_points
        ]
        for resource in encode(snapshot).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.HasField("histogram")
    }
    assert found == {
        table.series[0].name: [
            (
                expected_labels(snapshot, table.labels, key),
                list(table.series[0].bounds),
                distribution.counts,
                sum(distribution.counts),
                distribution.sum,
            )
            for key, [distribution] in table.rows.items()
        ]
        for table in snapshot.tables
        if isinstance(table, HistogramTable) and table.rows
    }


@given(st.lists(changing_snapshots(), max_size=8))
def test_what_is_kept_of_former_snapshots_shows_in_none(sequence: list[Snapshot]) -> None:
    kept = MetricsEncoder(RESOURCE, NODE)
    for snapshot in sequence:
        assert kept.encode([snapshot]) == MetricsEncoder(RESOURCE, NODE).encode([snapshot])


@given(snapshots(), st.integers(0, 2_000))
def test_a_large_snapshot_makes_several_requests(snapshot: Snapshot, request_bytes: int) -> None:
    [*whole] = MetricsEncoder(RESOURCE, NODE).encode([snapshot])
    parts = MetricsEncoder(RESOURCE, NODE, request_bytes=request_bytes).encode([snapshot])
    requests = [ExportMetricsServiceRequest.FromString(part.body) for part in parts]
    for part, request in zip(parts, requests, strict=True):
        [resource] = request.resource_metrics
        metrics = [metric for scope in resource.scope_metrics for metric in scope.metrics]
        assert metrics
        assert len(part.body) <= request_bytes or len(metrics) == 1
    assert sum(part.count for part in parts) == sum(one.count for one in whole)
    assert metrics_of(requests) == metrics_of([ExportMetricsServiceRequest.FromString(one.body) for one in whole])


def metrics_of(requests: Sequence[ExportMetricsServiceRequest]) -> list[tuple[bytes, bytes, bytes]]:
    """Each with its scope and resource, in an order of their own: parts keep that of the tables, not of the scopes."""
    return sorted(
        (resource.resource.SerializeToString(), scope.scope.SerializeToString(), metric.SerializeToString())
        for request in requests
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )


def in_scopes(tables: Iterable[Table | HistogramTable]) -> list[Table | HistogramTable]:
    """The tables that have rows, those of a probe together: a scope stands where its first point does."""
    filled = [table for table in tables if table.rows]
    probes = [table.probe for table in filled]
    return sorted(filled, key=lambda table: probes.index(table.probe))


def name_of(metric: Metric) -> tuple[str, str, str, Kind]:
    kind = Kind.COUNTER if metric.HasField("sum") else Kind.GAUGE
    return metric.name, metric.unit, metric.description, kind


def labels_of(point: NumberDataPoint | HistogramDataPoint) -> dict[str, str]:
    return {attribute.key: attribute.value.string_value for attribute in point.attributes}


def values_of(point: NumberDataPoint) -> tuple[dict[str, str], int, int, float]:
    value = point.as_int if point.HasField("as_int") else point.as_double
    return labels_of(point), point.start_time_unix_nano, point.time_unix_nano, value


def expected_labels(snapshot: Snapshot, names: tuple[str, ...], key: RowKey) -> dict[str, str]:
    cookie, values = key
    entity = snapshot.entities[cookie]
    labels = {"namespace": entity.namespace, "netns": f"ns{entity.netns}", "node": NODE, "pod": entity.pod}
    labels |= dict(entity.labels) | dict(zip(names, values, strict=True))
    return {name: well_formed(value) for name, value in labels.items()}


def expected_values(snapshot: Snapshot, table: Table, row: int, column: int) -> tuple[dict[str, str], int, int, float]:
    key, values = list(table.rows.items())[row]
    counts = table.series[column].kind is Kind.COUNTER
    start_ns = min(max(snapshot.entities[key[0]].start_ns, table.since_ns), snapshot.time_ns) if counts else 0
    value = values[column]
    return (
        expected_labels(snapshot, table.labels, key),
        start_ns,
        snapshot.time_ns,
        value if value < 2**63 else float(value),
    )
