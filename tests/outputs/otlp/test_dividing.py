"""Requests in halves: all of it, in order, under the same resources and scopes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.outputs.otlp.logs import LogsEncoder, Observed
from otel_netagent.outputs.otlp.metrics import MetricsEncoder
from otel_netagent.outputs.sending import NO_POD, EncodedRequest, PodName
from otel_netagent.unicode import well_formed
from tests.outputs.samples import NODE, TIME_NS, events, make_snapshot, snapshots

LOGS = LogsEncoder(Resource({"service.name": "a"}), NODE)
METRICS = MetricsEncoder(Resource({"service.name": "a"}), NODE)
RUBBISH = EncodedRequest(b"\xff\xff", 7)


def pieces(divider: LogsEncoder | MetricsEncoder, request: EncodedRequest) -> list[EncodedRequest]:
    """The smallest requests, in order."""
    halves = divider.halves(request)
    if halves is None:
        return [request]
    assert [half.count for half in halves] == [request.count // 2, request.count - request.count // 2]
    return [piece for half in halves for piece in pieces(divider, half)]


def log_records(requests: Sequence[EncodedRequest]) -> list[bytes]:
    return [
        resource.resource.SerializeToString() + scope.scope.SerializeToString() + record.SerializeToString()
        for request in requests
        for resource in ExportLogsServiceRequest.FromString(request.body).resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def data_points(requests: Sequence[EncodedRequest]) -> list[bytes]:
    return [
        resource.resource.SerializeToString() + metric.name.encode() + metric.unit.encode() + point.SerializeToString()
        for request in requests
        for resource in ExportMetricsServiceRequest.FromString(request.body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in getattr(metric, str(metric.WhichOneof("data"))).data_points
    ]


@given(st.lists(events(), min_size=1, max_size=9))
def test_log_records_in_pieces_are_all_of_them(occurrences: list[AttributedEvent]) -> None:
    [whole] = LOGS.encode([Observed(event, TIME_NS) for event in occurrences])
    split = pieces(LOGS, whole)
    assert len(split) == len(occurrences)
    assert log_records(split) == log_records([whole])
    assert all(sum(LOGS.contents(piece).values()) == 1 for piece in split)


@given(snapshots())
def test_data_points_in_pieces_are_all_of_them(snapshot: Snapshot) -> None:
    requests = METRICS.encode([snapshot])
    split = [piece for whole in requests for piece in pieces(METRICS, whole)]
    assert len(split) == METRICS.count(snapshot)
    assert data_points(split) == data_points(requests)


def test_a_piece_keeps_nothing_that_is_empty() -> None:
    first, second = METRICS.encode([make_snapshot(), make_snapshot()])
    for piece in pieces(METRICS, EncodedRequest(first.body + second.body, first.count + second.count)):
        [resource] = ExportMetricsServiceRequest.FromString(piece.body).resource_metrics
        [scope] = resource.scope_metrics
        assert len(scope.metrics) == 1


@given(st.lists(events(), max_size=9))
def test_records_are_told_apart_by_pod(occurrences: list[AttributedEvent]) -> None:
    [whole] = LOGS.encode([Observed(event, TIME_NS) for event in occurrences])
    expected = Counter(
        PodName(well_formed(event.entity.namespace), well_formed(event.entity.pod)) for event in occurrences
    )
    assert LOGS.contents(whole) == expected


def test_what_is_no_request_cannot_be_parted_and_is_nobodys() -> None:
    assert LOGS.halves(RUBBISH) is None
    assert METRICS.halves(RUBBISH) is None
    assert LOGS.contents(RUBBISH) == {NO_POD: 7}
