"""What was suppressed or lost is emitted in sums: as much as was added, once, to whom it belongs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.model.table import RowKey, Table
from otel_netagent.pipeline.suppressed import SuppressedEvents
from otel_netagent.probing.occurrences import EVENTS
from tests.outputs.samples import TIME_NS, make_entity, make_snapshot

WEB, DB = make_entity(1, pod="web"), make_entity(2, pod="db")
_COUNTS = st.integers(0, 10**12)


def snapshot(*rows: tuple[int, str, int, int, int]) -> Snapshot:
    """One with (namespace, type, emitted, suppressed, lost)."""
    counts: dict[RowKey, tuple[int]] = {}
    for netns, name, *outcomes in rows:
        for outcome, count in zip(("emitted", "suppressed", "lost"), outcomes, strict=True):
            counts[netns, (name, outcome)] = (count,)
    return make_snapshot(Table("packetloss", (EVENTS,), counts), entities=(WEB, DB))


def lines(*snapshots: Snapshot) -> list[str]:
    """What is emitted of these snapshots, one after another."""
    emitted: list[AttributedEvent] = []
    suppressed_events = SuppressedEvents([emitted.append])
    for each in snapshots:
        suppressed_events.compare(each)
    return [event.line for event in emitted]


def test_what_was_added_is_emitted_once() -> None:
    first = snapshot((1, "PACKETLOSS", 100, 7, 0), (2, "PACKETLOSS", 5, 0, 0))
    assert lines(first, first, snapshot((1, "PACKETLOSS", 100, 8, 3), (2, "PACKETLOSS", 5, 0, 1))) == [
        "type=EVENTS_SUPPRESSED pod=web namespace=shop of=PACKETLOSS suppressed=7 lost=0",
        "type=EVENTS_SUPPRESSED pod=web namespace=shop of=PACKETLOSS suppressed=1 lost=3",
        "type=EVENTS_SUPPRESSED pod=db namespace=shop of=PACKETLOSS suppressed=0 lost=1",
    ]


def test_nothing_is_emitted_while_nothing_is_suppressed() -> None:
    assert lines(snapshot((1, "PACKETLOSS", 1, 0, 0)), snapshot((1, "PACKETLOSS", 90, 0, 0)), make_snapshot()) == []


def test_a_gap_in_the_tables_is_not_emitted_again() -> None:
    counted = snapshot((1, "PACKETLOSS", 1, 9, 0))
    assert len(lines(counted, make_snapshot(entities=(WEB, DB)), counted)) == 1
    assert len(lines(counted, make_snapshot(entities=(DB,)), counted)) == 2  # another namespace, of the same number


def test_the_next_namespace_with_an_inode_is_emitted_from_its_start() -> None:
    """Though it has the name of the one before, and more is missing of it."""
    old, new = (make_entity(4026534001, netns_cookie=cookie) for cookie in (1, 2))
    emitted: list[AttributedEvent] = []
    suppressed_events = SuppressedEvents([emitted.append])
    for entity, suppressed in ((old, 50), (new, 60)):
        counts: dict[RowKey, tuple[int]] = {
            (entity.netns_cookie, ("PACKETLOSS", outcome)): (count,)
            for outcome, count in {"emitted": 1, "suppressed": suppressed, "lost": 0}.items()
        }
        suppressed_events.compare(make_snapshot(Table("packetloss", (EVENTS,), counts), entities=(entity,)))
    assert [(each.event.netns, each.event.netns_cookie, each.event.body) for each in emitted] == [
        (4026534001, 1, "of=PACKETLOSS suppressed=50 lost=0"),
        (4026534001, 2, "of=PACKETLOSS suppressed=60 lost=0"),
    ]
    assert [each.entity for each in emitted] == [old, new]


def test_a_count_that_began_again_is_emitted_from_its_start() -> None:
    assert lines(snapshot((1, "PACKETLOSS", 9, 50, 0)), snapshot((1, "PACKETLOSS", 9, 2, 0))) == [
        "type=EVENTS_SUPPRESSED pod=web namespace=shop of=PACKETLOSS suppressed=50 lost=0",
        "type=EVENTS_SUPPRESSED pod=web namespace=shop of=PACKETLOSS suppressed=2 lost=0",
    ]


def test_the_event_bears_the_time_of_the_collection_and_the_counts_as_numbers() -> None:
    emitted: list[AttributedEvent] = []
    SuppressedEvents([emitted.append]).compare(snapshot((1, "PACKETLOSS", 1, 2, 3)))
    [event] = [each.event for each in emitted]
    assert (event.time_ns, event.probe) == (TIME_NS, "packetloss")
    assert event.attributes == {
        "netagent.event.type": "PACKETLOSS",
        "netagent.event.suppressed": 2,
        "netagent.event.lost": 3,
    }


@given(st.lists(st.tuples(_COUNTS, _COUNTS), max_size=6))
def test_all_that_is_emitted_adds_up_to_what_is_missing(counts: list[tuple[int, int]]) -> None:
    """Counts as they come: each column sorted, since it only grows."""
    growing = list(zip(*map(sorted, zip(*counts, strict=True)), strict=True))
    emitted: list[AttributedEvent] = []
    suppressed_events = SuppressedEvents([emitted.append])
    for suppressed, lost in growing:
        suppressed_events.compare(snapshot((1, "PACKETLOSS", 0, suppressed, lost)))
    sums = [
        sum(int(each.event.attributes[f"netagent.event.{what}"]) for each in emitted) for what in ("suppressed", "lost")
    ]
    assert sums == (list(growing[-1]) if growing else [0, 0])
