"""The content of an encoded request, and how to split one that is too large; also for requests from a spool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableSequence
from typing import Any, TypeVar

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_netagent.outputs.sending.request import NO_POD, EncodedRequest, PodName

T = TypeVar("T")


def pods_of_logs(request: EncodedRequest) -> Mapping[PodName, int]:
    """Number of log records of each pod in a request; all of NO_POD if the request cannot be decoded."""
    try:
        message = ExportLogsServiceRequest.FromString(request.body)
    except DecodeError:
        return {NO_POD: request.count}
    found: Counter[PodName] = Counter()
    for resource in message.resource_logs:
        found[_pod(resource)] += sum(len(scope.log_records) for scope in resource.scope_logs)
    return found


def halves_of_logs(request: EncodedRequest) -> tuple[EncodedRequest, EncodedRequest] | None:
    """The log records as two requests, in their order; None if there is only one."""

    def part(wanted: range) -> EncodedRequest:
        message = ExportLogsServiceRequest.FromString(request.body)
        _retain(wanted, (scope.log_records for resource in message.resource_logs for scope in resource.scope_logs))
        for resource in message.resource_logs:
            _drop(resource.scope_logs, lambda scope: not scope.log_records)
        _drop(message.resource_logs, lambda resource: not resource.scope_logs)
        return EncodedRequest(message.SerializeToString(), len(wanted))

    return _halves(request, part)


def halves_of_metrics(request: EncodedRequest) -> tuple[EncodedRequest, EncodedRequest] | None:
    """The data points as two requests, in their order; None if there is only one."""

    def part(wanted: range) -> EncodedRequest:
        message = ExportMetricsServiceRequest.FromString(request.body)
        scopes = [scope for resource in message.resource_metrics for scope in resource.scope_metrics]
        metrics = (metric for scope in scopes for metric in scope.metrics)
        _retain(wanted, map(_data_points, metrics))
        for scope in scopes:
            _drop(scope.metrics, lambda metric: not _data_points(metric))
        for resource in message.resource_metrics:
            _drop(resource.scope_metrics, lambda scope: not scope.metrics)
        _drop(message.resource_metrics, lambda resource: not resource.scope_metrics)
        return EncodedRequest(message.SerializeToString(), len(wanted))

    return _halves(request, part)


def _data_points(metric: Metric) -> MutableSequence[Any]:
    """The data points of a metric of any kind; none if it has no data."""
    kind = metric.WhichOneof("data")
    return getattr(metric, kind).data_points if kind else []


def _halves(
    request: EncodedRequest, part: Callable[[range], EncodedRequest]
) -> tuple[EncodedRequest, EncodedRequest] | None:
    middle = request.count // 2
    if middle == 0:
        return None
    try:
        return part(range(middle)), part(range(middle, request.count))
    except DecodeError:
        return None


def _retain(wanted: range, lists: Iterator[MutableSequence[T]]) -> None:
    """Of the items of all lists together, keep those with the wanted numbers."""
    before = 0
    for items in lists:
        length = len(items)
        first, end = (min(max(number - before, 0), length) for number in (wanted.start, wanted.stop))
        del items[end:]
        del items[:first]
        before += length


def _drop(items: MutableSequence[T], unwanted: Callable[[T], bool]) -> None:
    for index in reversed(range(len(items))):
        if unwanted(items[index]):
            del items[index]


def _pod(resource: ResourceLogs) -> PodName:
    labels = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    return PodName(labels.get("namespace", ""), labels.get("pod", ""))
