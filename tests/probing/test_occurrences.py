"""Every occurrence is counted, and each is emitted, suppressed or lost: of a tiny program that makes them to order."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.ring_buffer import RingBuffers
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.kernel.proc import processes
from otel_netagent.model.event import EventType
from otel_netagent.probing.declaration import EventSettings
from otel_netagent.probing.kernel_event import header_of
from otel_netagent.probing.occurrences import Occurrence, Occurrences, events_table, limit_events
from tests.kernel.fixtures import CompileBpf

TINY = r"""
#define EVENTS_BYTES (1 << 19)
#include "event.h"

struct tiny_event {
	struct event_header header;
	__u8 padding[4072];
};

EXPORT_LAYOUT(tiny_event);

/* What is to occur when the program is run. */
__u64 cookie, location, now;
__u32 inode, kind, expected;

SEC("raw_tp")
int occur(void *context)
{
	struct netns_id netns = { .cookie = cookie, .inode = inode };
	struct occurrence_key key = {
		.netns_cookie = cookie, .netns_inode = inode, .location = location, .kind = kind, .expected = expected,
	};
	struct occurrences *entry = count_occurrence(&key, now);
	struct tiny_event *event;

	if (!entry)
		return 0;
	event = reserve_event(entry, sizeof(*event));
	if (!event)
		return 0;
	begin_event(&event->header, entry, netns, kind, now);
	bpf_ringbuf_submit(event, 0);
	return 1;
}
"""

LIMIT = 10
SECOND = 1_000_000_000
CPU = min(os.sched_getaffinity(0))


class Kind(NamedTuple):
    """What the kernel tells apart."""

    cookie: int
    kind: int = 0
    location: int = 0
    expected: bool = False

    @property
    def inode(self) -> int:
        """A number that no cookie of these tests is."""
        return 4_026_531_840 + self.cookie


def namespaces(*cookies: int) -> list[Namespace]:
    """As the kernel's walk tells them."""
    return [Namespace(Kind(cookie).inode, cookie, 1, ()) for cookie in cookies]


@dataclass(frozen=True)
class Tiny:
    """The tiny program, loaded."""

    object: BpfObject
    occurrences: Occurrences
    rings: RingBuffers

    def occur(self, what: Kind, *, second: int = 1, times: int = 1) -> int:
        """Let it happen in a second of the kernel's clock; how many times an event was sent."""
        for variable in ("cookie", "inode", "kind", "location", "expected"):
            self.object.variable(variable)[0] = getattr(what, variable)
        self.object.variable("now")[0] = second * SECOND
        return sum(self.object.run_on_cpu("occur", CPU) for _ in range(times))

    def read(self, what: Kind) -> Occurrence:
        """What is counted of it."""
        found = self.occurrences.read(namespaces(*range(1, 10)))
        wanted = (what.cookie, what.kind, what.location, what.expected)
        (occurrence,) = [
            each for each in found if (each.netns_cookie, each.kind, each.location, each.expected) == wanted
        ]
        return occurrence

    def events(self) -> int:
        """How many events have come."""
        count = 0
        while records := self.rings.drain():
            count += len(records)
        return count

    def forget(self) -> None:
        """Begin anew."""
        keys, _ = self.object.map("occurrences").read_all()
        size = self.object.map("occurrences").key_size
        for at in range(0, len(keys), size):
            self.object.map("occurrences").delete(keys[at : at + size])
        self.events()


@pytest.fixture(scope="module")
def shared_tiny(compile_bpf: CompileBpf) -> Iterator[Tiny]:
    with BpfObject(compile_bpf(TINY), ("occur",)) as bpf_object:
        bpf_object.load()
        limit_events(bpf_object, EventSettings(per_second=LIMIT))
        with RingBuffers([bpf_object.map("events")]) as rings:
            yield Tiny(bpf_object, Occurrences("tiny", types("A"), bpf_object), rings)


@pytest.fixture
def tiny(shared_tiny: Tiny) -> Tiny:
    """The tiny program, of which nothing has happened."""
    shared_tiny.forget()
    return Tiny(shared_tiny.object, Occurrences("tiny", types("A"), shared_tiny.object), shared_tiny.rings)


# --- Counting


def test_what_has_not_happened_is_not_there(tiny: Tiny) -> None:
    assert tiny.occurrences.read(namespaces(1, 2)) == []
    assert tiny.occurrences.uncounted == 0


def test_an_occurrence_is_counted_and_its_event_emitted(tiny: Tiny) -> None:
    what = Kind(cookie=7, kind=3, location=0xFFFFFFFF81000000)
    assert tiny.occur(what) == 1
    assert tiny.occurrences.read(namespaces(7)) == [Occurrence(7, 3, what.location, False, 1, 0, 0, 0)]
    assert tiny.read(what).emitted == tiny.events() == 1


def test_the_event_begins_with_its_header(tiny: Tiny) -> None:
    what = Kind(cookie=7, kind=3)
    tiny.occur(what, second=5)
    (record,) = tiny.rings.drain()
    header = header_of(tiny.object.btf, "tiny_event").read(record.content)
    assert header == (5 * SECOND, 7, what.inode, 3)


def test_a_burst_is_counted_whole_and_told_in_bounds(tiny: Tiny) -> None:
    what = Kind(1)
    assert tiny.occur(what, times=1_000) == LIMIT
    assert tiny.read(what)[4:] == (LIMIT, 1_000 - LIMIT, 0, 0)
    assert tiny.events() == tiny.read(what).emitted == LIMIT


def test_a_new_second_has_a_new_budget(tiny: Tiny) -> None:
    assert [tiny.occur(Kind(1), second=second, times=20) for second in (1, 2, 7)] == [LIMIT] * 3


def test_a_noisy_namespace_takes_nothing_from_another(tiny: Tiny) -> None:
    tiny.occur(Kind(1), times=100)
    for other in (Kind(2), Kind(1, kind=1), Kind(1, location=1)):
        assert tiny.occur(other) == 1


def test_the_expected_is_counted_only(tiny: Tiny) -> None:
    what = Kind(1, expected=True)
    assert tiny.occur(what, times=50) == 0
    assert tiny.read(what) == Occurrence(1, 0, 0, True, 0, 0, 0, not_emitted=50)
    assert tiny.read(what).emitted == tiny.events() == 0


def test_an_event_of_the_expected_is_emitted_where_it_is_asked_for(compile_bpf: CompileBpf) -> None:
    with BpfObject(compile_bpf(TINY), ("occur",)) as bpf_object:
        bpf_object.load()
        with RingBuffers([bpf_object.map("events")]) as rings:
            tiny = Tiny(bpf_object, Occurrences("tiny", types("A"), bpf_object), rings)
            what = Kind(1, expected=True)
            limit_events(bpf_object, EventSettings(per_second=LIMIT, expected=True))
            assert tiny.occur(what, times=50) == LIMIT
            assert tiny.read(what) == Occurrence(1, 0, 0, True, LIMIT, 50 - LIMIT, 0, not_emitted=0)
            assert tiny.events() == LIMIT


def test_what_is_wanted_may_change_at_any_time(compile_bpf: CompileBpf) -> None:
    """Of 50 occurrences each: with what is wanted, how many are emitted and suppressed; the others are not emitted."""
    history: Sequence[tuple[EventSettings | None, int, int]] = (
        (None, 0, 0),
        (EventSettings(per_second=10), 10, 40),
        (EventSettings(per_second=20), 20, 30),
        (EventSettings(per_second=50), 50, 0),
        (None, 0, 0),
        (EventSettings(per_second=1), 1, 49),
    )
    with BpfObject(compile_bpf(TINY), ("occur",)) as bpf_object:
        bpf_object.load()
        with RingBuffers([bpf_object.map("events")]) as rings:
            tiny = Tiny(bpf_object, Occurrences("tiny", types("A"), bpf_object), rings)
            emitted = suppressed = 0
            for second, (wanted, newly_emitted, newly_suppressed) in enumerate(history):
                limit_events(bpf_object, wanted)
                assert tiny.occur(Kind(1), second=second, times=50) == newly_emitted
                emitted, suppressed = emitted + newly_emitted, suppressed + newly_suppressed
                counted = tiny.read(Kind(1))
                assert (counted.emitted, counted.suppressed, counted.total) == (emitted, suppressed, 50 * (second + 1))
            assert tiny.events() == emitted


def test_what_the_ring_has_no_room_for_is_lost_and_counted(tiny: Tiny) -> None:
    """Two MiB of events of 4 KiB, which nobody reads."""
    what = Kind(1)
    sent = sum(tiny.occur(what, second=second, times=LIMIT) for second in range(1, 101))
    counted = tiny.read(what)
    assert counted.total == 100 * LIMIT
    assert counted.suppressed == 0
    assert counted.lost > 0
    assert sent == counted.emitted == counted.total - counted.lost == tiny.events()
    assert tiny.occur(what, second=200) == 1  # there is room again


kinds = st.builds(Kind, st.integers(1, 3), st.integers(0, 1), st.just(0), st.booleans())


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(kinds, st.integers(1, 4), st.integers(1, 25)), max_size=10))
def test_every_occurrence_is_told_or_suppressed(tiny: Tiny, history: list[tuple[Kind, int, int]]) -> None:
    tiny.forget()
    total: Counter[Kind] = Counter()
    emitted: Counter[Kind] = Counter()
    budget: dict[Kind, tuple[int, int]] = {}
    for what, second, times in history:
        of_second, spent = budget.get(what, (second, 0))
        left = 0 if what.expected else LIMIT - (spent if of_second == second else 0)
        sent = tiny.occur(what, second=second, times=times)
        assert sent == min(times, left)
        budget[what] = (second, LIMIT - left + sent)
        total[what] += times
        emitted[what] += sent
    for what in total:
        not_emitted = total[what] - emitted[what]
        suppressed, not_emitted = (0, not_emitted) if what.expected else (not_emitted, 0)
        assert tiny.read(what)[4:] == (emitted[what], suppressed, 0, not_emitted)
    assert tiny.events() == emitted.total()


# --- The table


def in_the_map(tiny: Tiny) -> int:
    """How many kinds the kernel keeps."""
    return len(tiny.object.map("occurrences").read_all()[0]) // tiny.object.map("occurrences").key_size


def test_a_namespace_without_processes_is_kept_for_a_while_and_then_forgotten(tiny: Tiny) -> None:
    for kind in range(3):
        tiny.occur(Kind(1, kind))
    tiny.occur(Kind(2))
    kept = []
    for _ in range(6):
        assert [each.netns_cookie for each in tiny.occurrences.read(namespaces(2))] == [2]
        kept.append(in_the_map(tiny))
    assert kept == [4, 4, 4, 1, 1, 1]


def test_a_namespace_that_comes_back_in_time_has_lost_nothing(tiny: Tiny) -> None:
    """A process may enter a named namespace again."""
    tiny.occur(Kind(1), times=5)
    for _ in range(3):
        for _ in range(3):
            assert tiny.occurrences.read([]) == []
        assert tiny.read(Kind(1)).total == 5


def test_what_has_no_namespace_is_the_hosts_and_kept(tiny: Tiny) -> None:
    host = processes.host_netns()
    assert host is not None
    tiny.object.variable("cookie")[0] = tiny.object.variable("inode")[0] = 0
    tiny.object.run_on_cpu("occur", CPU)
    for _ in range(6):
        assert tiny.occurrences.read(namespaces(1, 2)) == []
    (found,) = tiny.occurrences.read([*namespaces(1), Namespace(host, 5, 1, ())])
    assert (found.netns_cookie, found.total) == (5, 1)


def test_a_cookie_is_no_inode(tiny: Tiny) -> None:
    """Though it may be the same number as that of another namespace, be that gone or there."""
    gone, there = Kind(1), Namespace(Kind(2).inode, Kind(1).inode, 1, ())
    tiny.occur(gone)
    assert tiny.occurrences.read([there]) == []
    assert tiny.occurrences.absent == {gone.cookie}
    both = [*namespaces(gone.cookie), there]
    assert [each.netns_cookie for each in tiny.occurrences.read(both)] == [gone.cookie]
    tiny.object.variable("cookie")[0], tiny.object.variable("inode")[0] = there.cookie, there.inode
    tiny.object.run_on_cpu("occur", CPU)
    assert {each.netns_cookie for each in tiny.occurrences.read(both)} == {gone.cookie, there.cookie}


def test_a_walk_that_knows_no_cookies_finds_its_namespaces_by_inode(tiny: Tiny) -> None:
    what = Kind(1)
    tiny.occur(what, times=2)
    (found,) = tiny.occurrences.read([Namespace(what.inode, what.inode, 1, ())])
    assert (found.netns_cookie, found.total) == (what.inode, 2)


def test_what_a_full_table_cannot_count_is_itself_counted(tiny: Tiny) -> None:
    table = tiny.object.map("occurrences")
    for location in range(table.max_entries):
        table.update(struct.pack("=QQIIII", 1, location, Kind(1).inode, 0, 0, 0), bytes(table.value_size))
    assert tiny.occur(Kind(2), times=3) == 0
    assert tiny.occurrences.uncounted == 3
    host = processes.host_netns()
    assert host is not None
    there = [*namespaces(1), Namespace(host, 5, 1, ())]
    _, uncounted = tiny.occurrences.tables(tiny.occurrences.read(there), there)
    assert uncounted.rows == {(5, ("tiny",)): (3,)}
    _, uncounted = tiny.occurrences.tables([], namespaces(1))
    assert uncounted.rows == {}
    assert tiny.occur(Kind(1, location=17)) == 1
    found = tiny.occurrences.read(namespaces(1, 2))
    assert len(found) == table.max_entries
    assert [each.location for each in found if each.total] == [17]


# --- What became of the events


def of(netns_cookie: int, kind: int, total: int, suppressed: int, lost: int, *, expected: bool = False) -> Occurrence:
    if expected:
        return Occurrence(netns_cookie, kind, 0, True, 0, 0, 0, total)
    return Occurrence(netns_cookie, kind, 0, False, total - suppressed - lost, suppressed, lost, 0)


def types(*names: str) -> Sequence[EventType]:
    return [EventType(name, name.lower(), "it happens") for name in names]


def test_outcomes_are_shown_by_type() -> None:
    table = events_table("tiny", [of(5, 1, 10, 3, 2), of(5, 0, 1, 0, 0), of(6, 1, 4, 4, 0)], types("A", "B"))
    assert table.rows == {
        (5, ("B", "emitted")): (5,),
        (5, ("B", "suppressed")): (3,),
        (5, ("B", "lost")): (2,),
        (5, ("A", "emitted")): (1,),
        (5, ("A", "suppressed")): (0,),
        (5, ("A", "lost")): (0,),
        (6, ("B", "emitted")): (0,),
        (6, ("B", "suppressed")): (4,),
        (6, ("B", "lost")): (0,),
    }


def test_of_a_probe_with_one_type_all_kinds_are_of_that_type() -> None:
    found = [of(5, 3, 10, 3, 2), of(5, 77, 1, 0, 1), of(5, 8, 100, 0, 0, expected=True)]
    assert events_table("tiny", found, types("A")).rows == {
        (5, ("A", "emitted")): (5,),
        (5, ("A", "suppressed")): (3,),
        (5, ("A", "lost")): (3,),
    }
