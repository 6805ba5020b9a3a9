"""Declaration of an event type, and one occurrence of it.

Occurrences are named tuples, which take a third of the time that it takes to make an instance of a frozen dataclass:
there may be tens of thousands a second.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Self

from otel_netagent.model.attribute import Attribute, AttributeValue, line_of


class Severity(enum.IntEnum):
    """Severity numbers of the OpenTelemetry logs data model."""

    INFO = 9
    WARN = 13
    ERROR = 17


@dataclass(frozen=True, slots=True)
class Guidance:
    """What the reference says of an event to a reader who sees it for the first time.

    `example` is a body; `causes` are the usual causes; `look_at` is what to look at next.
    """

    example: str
    causes: str
    look_at: str


@dataclass(frozen=True)
class EventType:
    """One kind of occurrence that a probe reports.

    `name` is what the text line shows after `type=`, `event_name` the name of the OpenTelemetry log
    record; both are final. `fires_when` completes the sentence "it fires when ...". A type for something
    slow fires above `threshold_ms` milliseconds, unless the configuration sets another threshold.
    `attributes` are all that its events may have, in the order of the text line.
    """

    name: str
    event_name: str
    fires_when: str
    attributes: tuple[Attribute, ...] = field(default=(), hash=False)  # a hundred values; the names are distinct
    severity: Severity = Severity.WARN
    aliases: tuple[str, ...] = ()
    threshold_ms: int | None = None
    guidance: Guidance | None = None

    @cached_property
    def in_line(self) -> tuple[Attribute, ...]:
        """Those of the attributes that the text line has."""
        return tuple(each for each in self.attributes if each.before)


class _EventFields(NamedTuple):
    probe: str
    type: EventType
    time_ns: int
    netns: int
    netns_cookie: int
    attributes: Mapping[str, AttributeValue]
    body: str


class Event(_EventFields):
    """One occurrence, as the probe reports it: without the owner of the namespace.

    `time_ns` is the Unix time at which it happened in the kernel. `netns` is the inode number of the
    network namespace, which the kernel reuses once the namespace is gone; `netns_cookie` is never used twice
    (bpf/include/netns.h). `attributes` are some of those that the type declares, by their names. `body` is the text
    line after the entity; it follows from the attributes, and is made at once: later it costs twice as much, in the
    thread of the first output that needs it.
    """

    __slots__ = ()

    def __new__(  # noqa: PLR0913, PLR0917 - its fields
        cls,
        probe: str,
        type: EventType,  # noqa: A002 - its name
        time_ns: int,
        netns: int,
        netns_cookie: int,
        attributes: Mapping[str, AttributeValue],
    ) -> Self:
        """An event with these attributes, and the line that they make."""
        body = line_of(type.in_line, attributes)
        return tuple.__new__(cls, (probe, type, time_ns, netns, netns_cookie, attributes, body))

    def adding(self, attributes: Mapping[str, AttributeValue]) -> Event:
        """The same event with these attributes too."""
        return Event(*self[:5], {**self.attributes, **attributes})
