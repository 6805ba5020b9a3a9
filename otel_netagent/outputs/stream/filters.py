"""What a client asked for: names, and fields of `Meta`, each with alternatives. An empty filter matches everything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.identity.entity import Entity
from otel_netagent.model.series import Series
from otel_netagent.outputs.stream import inspector_pb2 as pb


@dataclass(frozen=True, slots=True)
class Filter:
    """Matches one of the names, and all fields of one of `metas`. Names ignore case: aliases exist in both cases.

    Plain objects, not protobuf messages, whose fields are decoded at every access.
    """

    names: frozenset[str]
    metas: tuple[_Meta, ...]

    @classmethod
    def of_watch(cls, request: pb.WatchRequest) -> Filter:
        """The filter of a request for events."""
        metas = [*([request.filter] if request.HasField("filter") else []), *request.filters]
        return cls._of([request.name, *request.names], metas)

    @classmethod
    def of_query(cls, request: pb.QueryMetricRequest) -> Filter:
        """The filter of a request for numbers."""
        return cls._of([request.name], [request.filter])

    @classmethod
    def _of(cls, names: Iterable[str], metas: Iterable[pb.Meta]) -> Filter:
        wanted = tuple(_Meta(meta.node, meta.pod, meta.namespace, meta.netns) for meta in metas)
        return cls(frozenset(name.casefold() for name in names if name), wanted or (_Meta(),))

    def wants_event(self, node: str, attributed: AttributedEvent) -> bool:
        """Whether the client asked for this event of this node: by its type, an alias of it, or its probe."""
        event = attributed.event
        return self.wants_entity(node, attributed.entity) and (
            not self.names or self._named(event.type.name, *event.type.aliases, event.probe)
        )

    def wants_series(self, probe: str, series: Series) -> bool:
        """Whether the client asked for this series: by its name, an alias of it, or its probe."""
        return not self.names or self._named(series.name, *series.aliases, probe)

    def wants_entity(self, node: str, entity: Entity) -> bool:
        """Whether the client asked for this entity on this node."""
        return any(meta.matches(node, entity) for meta in self.metas)

    def _named(self, *candidates: str) -> bool:
        return any(candidate.casefold() in self.names for candidate in candidates)


@dataclass(frozen=True, slots=True)
class _Meta:
    """Fields of `Meta`: each matches exactly, an empty one everything."""

    node: str = ""
    pod: str = ""
    namespace: str = ""
    netns: str = ""

    def matches(self, node: str, entity: Entity) -> bool:
        return (
            self.pod in ("", entity.pod)
            and self.namespace in ("", entity.namespace)
            and self.netns in ("", entity.netns_label)
            and self.node in ("", node)
        )
