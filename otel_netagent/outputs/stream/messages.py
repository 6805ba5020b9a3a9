"""Events and numbers as messages of `proto.inspector`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TypeAlias

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.identity.entity import Entity
from otel_netagent.model.series import Series
from otel_netagent.model.table import AnyTable, Distribution, ValueT
from otel_netagent.outputs.stream import inspector_pb2 as pb
from otel_netagent.outputs.stream.filters import Filter
from otel_netagent.unicode import well_formed

EVENTS_LOST = "EVENTS_LOST"
"""Name of the event that reports to a subscriber how many events it was too slow for."""


def event_reply(node: str, attributed: AttributedEvent) -> pb.WatchReply:
    """The reply that carries an event."""
    event = attributed.event
    return pb.WatchReply(
        name=event.type.name,
        event=pb.Event(
            meta=_meta(node, attributed.entity),
            name=event.type.name,
            value=well_formed(event.body),
            time_unix_nano=event.time_ns,
        ),
    )


def lost_reply(node: str, count: int, time_ns: int) -> pb.WatchReply:
    """The reply that reports `count` missing events at this point of the stream."""
    return pb.WatchReply(
        name=EVENTS_LOST,
        event=pb.Event(meta=pb.Meta(node=node), name=EVENTS_LOST, value=f"count={count}", time_unix_nano=time_ns),
    )


def metric_response(node: str, snapshot: Snapshot, request: pb.QueryMetricRequest) -> pb.QueryMetricResponse:
    """The points of a snapshot that a request asks for."""
    wanted = Filter.of_query(request)
    metrics = [
        *_metrics(node, snapshot, snapshot.tables, wanted, _number),
        *_metrics(node, snapshot, snapshot.histograms, wanted, _histogram),
    ]
    return pb.QueryMetricResponse(name=request.name, metrics=metrics, time_unix_nano=snapshot.time_ns)


_Sample: TypeAlias = tuple[str, float, Mapping[str, str]]
"""(suffix of the series' name, value, labels besides those of the row)."""


def _metrics(
    node: str,
    snapshot: Snapshot,
    tables: Iterable[AnyTable[ValueT]],
    wanted: Filter,
    samples: Callable[[Series, ValueT], Iterable[_Sample]],
) -> Iterator[pb.Metric]:
    for table in tables:
        columns = [(i, each) for i, each in enumerate(table.series) if wanted.wants_series(table.probe, each)]
        for (netns_cookie, label_values), values in table.rows.items() if columns else ():
            entity = snapshot.entities[netns_cookie]
            if not wanted.wants_entity(node, entity):
                continue
            meta = _meta(node, entity)
            labels = dict(zip(table.labels, map(well_formed, label_values), strict=True))
            for column, series in columns:
                for suffix, value, more in samples(series, values[column]):
                    exact = value if isinstance(value, int) else None
                    name = series.name + suffix
                    yield pb.Metric(meta=meta, name=name, value=value, exact_value=exact, labels=labels | dict(more))


def _number(_series: Series, value: int) -> Iterator[_Sample]:
    yield "", value, {}


def _histogram(series: Series, distribution: Distribution) -> Iterator[_Sample]:
    """As in Prometheus: cumulative buckets, sum and count."""
    for bound, count in zip((*map(repr, series.bounds), "+Inf"), accumulate(distribution.counts), strict=True):
        yield "_bucket", count, {"le": bound}
    yield "_sum", distribution.sum, {}
    yield "_count", sum(distribution.counts), {}


def _meta(node: str, entity: Entity) -> pb.Meta:
    return pb.Meta(
        node=node,
        pod=well_formed(entity.pod),
        namespace=well_formed(entity.namespace),
        netns=entity.netns_label,
    )
