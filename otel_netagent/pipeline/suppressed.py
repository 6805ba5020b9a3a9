"""Events that were suppressed or lost: their sums are emitted as events too, so that no silence is misread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.model.attribute import Attribute
from otel_netagent.model.event import Event, EventType
from otel_netagent.model.table import Table
from otel_netagent.probing.occurrences import EVENTS

_TYPE: Final = Attribute("netagent.event.type", str, "type of the events that are missing", before=" of=")
_SUPPRESSED: Final = Attribute(
    "netagent.event.suppressed", int, "events above the rate limit", "{event}", " suppressed="
)
_LOST: Final = Attribute("netagent.event.lost", int, "events that the buffer had no room for", "{event}", " lost=")

EVENTS_SUPPRESSED: Final = EventType(
    "EVENTS_SUPPRESSED",
    "netagent.events.suppressed",
    "events of one type and entity were more than its share (suppressed), or found no room (lost), since the last "
    "collection: how many of each",
    (_TYPE, _SUPPRESSED, _LOST),
)

_Stream: TypeAlias = tuple[str, int, str]
"""(probe, cookie of the network namespace, event type)."""


class _MissingEvents(NamedTuple):
    suppressed: int
    lost: int

    def since(self, before: _MissingEvents) -> _MissingEvents:
        """What has been added. A count that fell began again: its probe did, or, without cookies, its namespace."""
        return _MissingEvents(*(now - then if now >= then else now for now, then in zip(self, before, strict=True)))


class SuppressedEvents:
    """Compares each snapshot's counts of events with those of the one before, and emits the difference to `outputs`."""

    def __init__(self, outputs: Sequence[Callable[[AttributedEvent], None]] = ()) -> None:
        """Nothing has been emitted yet."""
        self.outputs = outputs
        self._before: Mapping[_Stream, _MissingEvents] = {}

    def compare(self, snapshot: Snapshot) -> None:
        """Emit an event for each stream of which more events are missing than before. Snapshots come in their order."""
        now = dict(_missing(snapshot))
        for stream, missing in now.items():
            added = missing.since(self._before.get(stream, _MissingEvents(0, 0)))
            if any(added):
                event = _event(snapshot, stream, added)
                for output in self.outputs:
                    output(event)
        # A probe that could not be read this time has no table: what was emitted of it is not emitted again.
        kept = {stream: each for stream, each in self._before.items() if stream[1] in snapshot.entities}
        self._before = kept | now


def _missing(snapshot: Snapshot) -> Iterator[tuple[_Stream, _MissingEvents]]:
    for table in snapshot.tables:
        if isinstance(table, Table) and table.series == (EVENTS,):
            counts = {key: count for key, (count,) in table.rows.items()}
            for (cookie, (name, outcome)), count in counts.items():
                if outcome == "suppressed":
                    yield (table.probe, cookie, name), _MissingEvents(count, counts[cookie, (name, "lost")])


def _event(snapshot: Snapshot, stream: _Stream, missing: _MissingEvents) -> AttributedEvent:
    probe, cookie, name = stream
    entity = snapshot.entities[cookie]
    event = Event(
        probe=probe,
        type=EVENTS_SUPPRESSED,
        time_ns=snapshot.time_ns,
        netns=entity.netns,
        netns_cookie=cookie,
        attributes={
            _TYPE.name: name,
            _SUPPRESSED.name: missing.suppressed,
            _LOST.name: missing.lost,
        },
    )
    return AttributedEvent(event, entity)
