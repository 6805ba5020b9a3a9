"""Events of what is no fault, where the configuration asks for them: of their usual type, but of the least severity."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Final

from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.model.event import EventType, Severity

EXPECTED: Final = Attribute(
    "netagent.expected", int, "1: this is no fault; such events are emitted where `event_config.expected` asks for them"
)


@cache
def as_expected(event_type: EventType) -> EventType:
    """The same type, for events that are no fault."""
    return replace(event_type, severity=Severity.INFO)


def expected_attributes(is_expected: int) -> dict[str, AttributeValue]:
    """The attribute that says so; nothing for a fault."""
    return {EXPECTED.name: 1} if is_expected else {}
