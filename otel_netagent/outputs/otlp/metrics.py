"""Snapshots as OTLP metrics.

Requests are joined from encoded fragments, as those of logs are. Fragments are kept from one snapshot to the next by
row, not by point: a pod that comes or goes costs its own rows, whatever the number of series.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource

from otel_netagent import __version__
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.model.series import Series
from otel_netagent.model.table import AnyTable
from otel_netagent.outputs.otlp.attributes import add_attributes, scope_name
from otel_netagent.outputs.otlp.dividing import halves_of_metrics
from otel_netagent.outputs.otlp.points import Points, Times, counted_from, measured_at, points_of
from otel_netagent.outputs.otlp.wire import Parts, framed
from otel_netagent.outputs.row_forms import RowForms
from otel_netagent.outputs.sending.request import NO_POD, EncodedRequest, PodName

_REQUEST_RESOURCE: Final = ExportMetricsServiceRequest.RESOURCE_METRICS_FIELD_NUMBER
_RESOURCE_SCOPE: Final = ResourceMetrics.SCOPE_METRICS_FIELD_NUMBER
_SCOPE_METRIC: Final = ScopeMetrics.METRICS_FIELD_NUMBER

_FRAME_BYTES: Final = 6
"""The most bytes of a message's tag and length, below 4 GiB."""


class MetricsEncoder:
    """Encodes snapshots as the resource of the agent, a scope for each probe, a metric for each series.

    `aliases` also sends each series under its other names. Not thread-safe, except `contents` and `halves`.
    """

    def __init__(
        self, resource: Resource, node: str, *, aliases: bool = False, request_bytes: int = sys.maxsize
    ) -> None:
        """Encode for the agent that this resource describes, on the node of this name.

        A snapshot that needs more than `request_bytes` becomes several requests, split between metrics.
        """
        message = ResourceMetrics()
        add_attributes(message.resource.attributes, {key: str(value) for key, value in resource.attributes.items()})
        self._resource = message.SerializeToString()
        self._node = node
        self._aliases = aliases
        self._request_bytes = request_bytes
        # Bounded by what probes declare.
        self._beginning = functools.cache(_encoded_metric)
        self._scope = functools.cache(_encoded_scope)
        self._points = functools.cache(points_of)
        self._heads: dict[Points[Any], RowForms[bytes]] = {}

    def encode(self, items: Sequence[Snapshot]) -> list[EncodedRequest]:
        """For each snapshot in turn a request with all its points, or several; none if it has no point."""
        return [request for snapshot in items for request in self._requests(snapshot)]

    def count(self, item: Snapshot) -> int:
        """Number of data points that a snapshot is encoded as."""
        return sum(len(table.rows) * sum(len(self._names(series)) for series in table.series) for table in item.tables)

    def pod(self, item: Snapshot) -> PodName:  # noqa: ARG002 - the same for all
        """NO_POD: a snapshot concerns all pods."""
        return NO_POD

    def contents(self, request: EncodedRequest) -> Mapping[PodName, int]:
        """All points, as those of NO_POD."""
        return {NO_POD: request.count}

    def halves(self, request: EncodedRequest) -> tuple[EncodedRequest, EncodedRequest] | None:
        """The same as two requests; None if there is only one point."""
        return halves_of_metrics(request)

    def _requests(self, snapshot: Snapshot) -> Iterator[EncodedRequest]:
        scopes: dict[str, list[bytes]] = {}
        empty = size = len(self._resource) + _FRAME_BYTES
        count = 0
        for probe, metric, points in self._metrics(snapshot):
            # Estimated as if each metric had its own scope: slightly too much, never too little.
            added = sum(map(len, metric)) + len(self._scope(probe)) + _FRAME_BYTES
            if count and size + added > self._request_bytes:
                yield self._request(scopes, count)
                scopes, size, count = {}, empty, 0
            scopes.setdefault(probe, [self._scope(probe)]).extend(metric)
            size += added
            count += points
        if count:
            yield self._request(scopes, count)

    def _request(self, scopes: Mapping[str, Parts], count: int) -> EncodedRequest:
        content = chain.from_iterable(framed(_RESOURCE_SCOPE, parts) for parts in scopes.values())
        return EncodedRequest(b"".join(framed(_REQUEST_RESOURCE, (self._resource, *content))), count)

    def _metrics(self, snapshot: Snapshot) -> Iterator[tuple[str, Parts, int]]:
        """Every metric that has points: its probe, its encoding in a scope, and how many points it has."""
        # Once for each namespace, though it has a row in many tables.
        times_of = functools.cache(functools.partial(_times, snapshot))
        for table in snapshot.tables:
            if table.rows:
                counted = [times_of(cookie, table.since_ns) for cookie, _ in table.rows]
                yield from self._metrics_of(table, snapshot, Times(counted, measured_at(snapshot.time_ns)))
        for heads in self._heads.values():
            heads.forget_unused()

    def _metrics_of(self, table: AnyTable[Any], snapshot: Snapshot, times: Times) -> Iterator[tuple[str, Parts, int]]:
        kinds = [self._points(series.kind, series.bounds) for series in table.series]
        heads = {points: self._heads_of(points).of(table, snapshot.entities) for points in set(kinds)}
        columns = zip(*table.rows.values(), strict=True)
        for series, points, column in zip(table.series, kinds, columns, strict=True):
            data = points.data(heads[points], column, times)
            for name in self._names(series):
                yield table.probe, framed(_SCOPE_METRIC, (self._beginning(name, series), *data)), len(column)

    def _heads_of(self, points: Points[Any]) -> RowForms[bytes]:
        if points not in self._heads:
            self._heads[points] = RowForms(self._node, points.head)
        return self._heads[points]

    def _names(self, series: Series) -> tuple[str, ...]:
        return (series.name, *series.aliases) if self._aliases else (series.name,)


def _times(snapshot: Snapshot, cookie: int, since_ns: int) -> bytes:
    """Times of a row. It began not after the snapshot itself, which the clocks of different sources could say."""
    start_ns = max(snapshot.entities[cookie].start_ns, since_ns)
    return counted_from(min(start_ns, snapshot.time_ns), snapshot.time_ns)


def _encoded_metric(name: str, series: Series) -> bytes:
    return Metric(name=name, unit=series.unit, description=series.help).SerializeToString()


def _encoded_scope(probe: str) -> bytes:
    return ScopeMetrics(scope=InstrumentationScope(name=scope_name(probe), version=__version__)).SerializeToString()
