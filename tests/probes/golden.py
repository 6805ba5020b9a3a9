"""Events as they are to be, for good: a line and attributes for each record of tests/probes/records.py.

    .venv/bin/python -m tests.probes.golden

writes them anew into golden_events.json. Do so when an event is to change, and read the difference: somebody may
have a dashboard or an alert on what was there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.model.event import Event
from otel_netagent.model.table import RowKey, Table, Values
from otel_netagent.pipeline.drop_correlation import DropCorrelator
from otel_netagent.pipeline.kernel_access import KernelAccess, find_kernel_access
from otel_netagent.pipeline.suppressed import SuppressedEvents
from otel_netagent.probing.occurrences import EVENTS
from tests.outputs.samples import make_entity, make_snapshot
from tests.probes.commands import command_decoder
from tests.probes.records import records
from tests.probes.running import running

FILE: Final = Path(__file__).with_name("golden_events.json")

Decode: TypeAlias = Callable[[bytes, int], Event]


def recorded() -> dict[str, Any]:
    """The events of the file, by `PROBE: CASE`."""
    events: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return events


def golden(event: Event) -> dict[str, Any]:
    """An event as the file has it."""
    return {
        "type": event.type.name,
        "severity": event.type.severity.name,
        "line": event.body,
        "attributes": dict(event.attributes),
    }


def events(decoders: Mapping[str, Decode]) -> Iterator[tuple[str, Event]]:
    """The events of all records, then those that are made of others."""
    decoded: dict[str, Event] = {}
    for record in records():
        decoded[f"{record.probe}: {record.case}"] = decoders[record.probe](record.content, 1_000)
    yield from decoded.items()
    correlator = DropCorrelator()
    correlator.joined(decoded["packetloss: a segment with its number"])
    yield "tcpretrans: its drop is known", correlator.joined(decoded["tcpretrans: several segments"])
    yield "EVENTS_SUPPRESSED", _suppressed()


@contextlib.contextmanager
def decoders(access: KernelAccess) -> Iterator[dict[str, Decode]]:
    """How each probe reads its records."""
    with contextlib.ExitStack() as stack:
        probes = {record.probe for record in records()} - {"virtcmdlat"}
        by_probe: dict[str, Decode] = {
            name: stack.enter_context(running(name, access)).source.decode for name in sorted(probes)
        }
        # It runs where there is a device for it; its records can be read anywhere.
        yield by_probe | {"virtcmdlat": stack.enter_context(command_decoder())}


def _suppressed() -> Event:
    told: list[AttributedEvent] = []
    netns = make_entity().netns
    rows: dict[RowKey, Values] = {(netns, ("PACKETLOSS", "suppressed")): (7,), (netns, ("PACKETLOSS", "lost")): (3,)}
    SuppressedEvents([told.append]).compare(make_snapshot(Table("packetloss", (EVENTS,), rows)))
    return told[0].event


if __name__ == "__main__":
    with decoders(access := find_kernel_access()) as by_probe, contextlib.closing(access.walk.walk):
        content = {name: golden(event) for name, event in events(by_probe)}
    FILE.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
