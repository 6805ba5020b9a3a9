"""How events of what is no fault are told, where they are asked for: as their type, but of the least severity."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Final

from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.model.event import EventType, Severity

HARMLESS: Final = Attribute(
    "netagent.expected", int, "1: this is no fault; such events are emitted where `event_config.expected` asks for them"
)


@cache
def harmless(event_type: EventType) -> EventType:
    """The type as events have it that are harmless."""
    return replace(event_type, severity=Severity.INFO)


def harmless_attributes(is_harmless: int) -> dict[str, AttributeValue]:
    """The attribute that says so; nothing for a fault."""
    return {HARMLESS.name: 1} if is_harmless else {}
