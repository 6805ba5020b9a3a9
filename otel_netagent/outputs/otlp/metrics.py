"""Snapshots as OTLP metrics.

Requests are joined from encoded fragments, as those of logs are. Fragments are kept from one snapshot to the next by
row, not by point: a pod that comes or goes costs its own rows, whatever the number of series.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeAlias

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource

from otel_netagent import __version__
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.identity.entity import Entity
from otel_netagent.model.series import Series
from otel_netagent.model.table import AnyTable
from otel_netagent.outputs.otlp.attributes import add_attributes, scope_name
from otel_netagent.outputs.otlp.dividing import halves_of_metrics
from otel_netagent.outputs.otlp.points import Points, points_of
from otel_netagent.outputs.otlp.wire import Parts, framed
from otel_netagent.outputs.row_forms import metric_labels
from otel_netagent.outputs.sending.request import NO_POD, EncodedRequest, PodName

_Row: TypeAlias = tuple[Entity, tuple[str, ...], int]
"""(entity, values of the table's labels, Unix time in ns at which the row began to count)."""

_TableKey: TypeAlias = tuple[str, str, tuple[str, ...]]
"""(probe, name of the first series, names of the labels)."""

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
        self._kept: dict[_TableKey, _KeptRows] = {}

    def encode(self, items: Sequence[Snapshot]) -> list[EncodedRequest]:
        """For each snapshot in turn a request with all its points, or several; none if it has no point."""
        return [request for snapshot in items for request in self._requests(snapshot)]

    def count(self, item: Snapshot) -> int:
        """Number of data points that a snapshot is encoded as."""
        return sum(
            len(table.rows) * sum(len(self._names(series)) for series in table.series) for table in _tables(item)
        )

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
        used: dict[_TableKey, _KeptRows] = {}
        for table in _tables(snapshot):
            if not table.rows:
                continue
            key = (table.probe, table.series[0].name, table.labels)
            used[key] = kept = self._kept.get(key) or _KeptRows(self._node, table.labels)
            kept.follow(_rows(snapshot, table))
            for series, column in zip(table.series, zip(*table.rows.values(), strict=True), strict=True):
                points = self._points(series.kind, series.bounds)
                data = points.data(kept.heads(points), column, snapshot.time_ns)
                for name in self._names(series):
                    yield table.probe, framed(_SCOPE_METRIC, (self._beginning(name, series), *data)), len(column)
        # Only what this snapshot uses is kept: nothing remains of pods that are gone.
        self._kept = used

    def _names(self, series: Series) -> tuple[str, ...]:
        return (series.name, *series.aliases) if self._aliases else (series.name,)


class _KeptRows:
    """The rows of a table, and the heads of their points, which stay for as long as the row does."""

    def __init__(self, node: str, labels: tuple[str, ...]) -> None:
        """No row yet, of the table with these labels."""
        self._node = node
        self._labels = labels
        self._rows: Sequence[_Row] = []
        self._heads: dict[Points[Any], dict[_Row, bytes]] = {}

    def follow(self, rows: Sequence[_Row]) -> None:
        """Hold these rows from now on."""
        if rows != self._rows:  # cheap if they are equal: then their entities are identical
            self._rows = rows
            for points, heads in self._heads.items():
                self._heads[points] = {row: heads.get(row) or self._head(points, row) for row in rows}

    def heads(self, points: Points[Any]) -> Iterable[bytes]:
        """A head for each row, in their order."""
        if points not in self._heads:
            self._heads[points] = {row: self._head(points, row) for row in self._rows}
        return self._heads[points].values()

    def _head(self, points: Points[Any], row: _Row) -> bytes:
        entity, values, start_ns = row
        labels = metric_labels(entity, self._node) | dict(zip(self._labels, values, strict=True))
        return points.head(labels, start_ns)


def _tables(snapshot: Snapshot) -> tuple[AnyTable[Any], ...]:
    return (*snapshot.tables, *snapshot.histograms)


def _rows(snapshot: Snapshot, table: AnyTable[Any]) -> list[_Row]:
    """The table's rows. A start is never later than the snapshot, even if two clocks disagree."""
    since_ns, time_ns, entities = table.since_ns, snapshot.time_ns, snapshot.entities
    return [
        (entity := entities[cookie], values, min(max(entity.start_ns, since_ns), time_ns))
        for cookie, values in table.rows
    ]


def _encoded_metric(name: str, series: Series) -> bytes:
    return Metric(name=name, unit=series.unit, description=series.help).SerializeToString()


def _encoded_scope(probe: str) -> bytes:
    return ScopeMetrics(scope=InstrumentationScope(name=scope_name(probe), version=__version__)).SerializeToString()
