"""An event with the entity that it happened to."""

from __future__ import annotations

from typing import NamedTuple

from otel_netagent.identity.entity import Entity
from otel_netagent.model.event import Event


class AttributedEvent(NamedTuple):
    """An event and the entity that it happened to."""

    event: Event
    entity: Entity

    @property
    def line(self) -> str:
        """The one-line text of the event, in the original's shape."""
        return f"type={self.event.type.name} pod={self.entity.pod} namespace={self.entity.namespace} {self.event.body}"
