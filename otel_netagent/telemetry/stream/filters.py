"""What a client asked for: a name and fields of `Meta`, of which an empty one matches everything."""

from __future__ import annotations

from dataclasses import dataclass

from otel_netagent.identity.entity import Entity
from otel_netagent.telemetry.event import AttributedEvent
from otel_netagent.telemetry.series import Series
from otel_netagent.telemetry.stream import inspector_pb2 as pb


@dataclass(frozen=True, slots=True)
class Filter:
    """Fields of `Meta` match exactly; names do not mind case, since aliases are spelt in both.

    A plain object and not the message that it was read from: the fields of a message are decoded again at every look.
    """

    name: str
    node: str
    pod: str
    namespace: str
    netns: str

    @classmethod
    def of(cls, request: pb.WatchRequest | pb.QueryMetricRequest) -> Filter:
        """The filter of a request."""
        meta = request.filter
        return cls(request.name.casefold(), meta.node, meta.pod, meta.namespace, meta.netns)

    def wants_event(self, node: str, attributed: AttributedEvent) -> bool:
        """Whether this event, of this node, was asked for, by its type, an alias of it, or its probe."""
        event = attributed.event
        return self.wants_entity(node, attributed.entity) and (
            not self.name or self._names(event.type.name, *event.type.aliases, event.probe)
        )

    def wants_series(self, probe: str, series: Series) -> bool:
        """Whether this series of this probe was asked for, by its name, an alias of it, or the probe."""
        return not self.name or self._names(series.name, *series.aliases, probe)

    def wants_entity(self, node: str, entity: Entity) -> bool:
        """Whether this entity, on this node, was asked for."""
        return (
            self.pod in ("", entity.pod)
            and self.namespace in ("", entity.namespace)
            and self.netns in ("", entity.netns_label)
            and self.node in ("", node)
        )

    def _names(self, *candidates: str) -> bool:
        return self.name in (candidate.casefold() for candidate in candidates)
