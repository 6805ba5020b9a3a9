"""Declaration of an event type, and one occurrence of it.

Occurrences are named tuples, which take a third of the time that it takes to make an instance of a frozen dataclass:
there may be tens of thousands a second.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

AttributeValue: TypeAlias = str | int


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


@dataclass(frozen=True, slots=True)
class EventType:
    """One kind of occurrence that a probe reports.

    `name` is what the text line shows after `type=`, `event_name` the name of the OpenTelemetry log
    record; both are final. `fires_when` completes the sentence "it fires when ...". A type for something
    slow fires above `threshold_ms` milliseconds, unless the configuration sets another threshold.
    """

    name: str
    event_name: str
    fires_when: str
    severity: Severity = Severity.WARN
    aliases: tuple[str, ...] = ()
    threshold_ms: int | None = None
    guidance: Guidance | None = None


class Event(NamedTuple):
    """One occurrence, as the probe reports it: without the owner of the namespace.

    `time_ns` is the Unix time at which it happened in the kernel. `netns` is the inode number of the
    network namespace, which the kernel reuses once the namespace is gone; `netns_cookie` is never used twice
    (bpf/include/netns.h). `attributes` follow OpenTelemetry's
    semantic conventions where these have a name. `body` is the text line after the entity.
    """

    probe: str
    type: EventType
    time_ns: int
    netns: int
    netns_cookie: int
    attributes: Mapping[str, AttributeValue]
    body: str
