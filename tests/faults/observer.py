"""The agent's own eyes, opened in the test: its probes on the running kernel, read when the test wants to know."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lab.waiting import eventually
from otel_netagent.kernel.bpf.ring_buffer import RingBuffers
from otel_netagent.kernel.clock import monotonic_to_unix_ns
from otel_netagent.model.event import Event
from otel_netagent.pipeline.kernel_access import KernelAccess, find_kernel_access
from otel_netagent.pipeline.probe_set import ProbeSelection, ProbeSet
from otel_netagent.probes import catalogue
from otel_netagent.probing.declaration import EventSource
from tests.event_page import declared
from tests.tables import key_of, numbers


@dataclass(frozen=True, slots=True)
class Observer:
    """Probes, running."""

    access: KernelAccess
    probes: ProbeSet
    sources: list[EventSource]
    rings: RingBuffers

    def events(self, netns: Collection[int]) -> list[Event]:
        """Events of these namespaces since this was last asked: the kernel has written them when the fault is over."""
        offset = monotonic_to_unix_ns()
        found: list[Event] = []
        while records := self.rings.drain():
            found += [declared(self.sources[record.ring].decode(record.content, offset)) for record in records]
        return [event for event in found if event.netns in netns]

    def agreeing(
        self, netns: Collection[int], enough: Callable[[Sequence[Event]], bool]
    ) -> tuple[list[Event], dict[int, dict[str, int]]]:
        """Events of these namespaces, and their values of the same moment: no event came while the values were read.

        Waits until there are `enough`, since a timer or another process may bring a fault about. Their number alone
        does not say so: a busy machine has events of its own.
        """
        events: list[Event] = []

        def all_told() -> bool:
            events.extend(self.events(netns))
            return enough(events)

        with contextlib.suppress(TimeoutError):  # the comparison that follows says what is missing
            eventually(all_told)
        while True:
            values = {inode: self.values(inode) for inode in netns}
            meanwhile = self.events(netns)
            if not meanwhile:
                return events, values
            events += meanwhile

    def values(self, netns: int) -> dict[str, int]:
        """Every value of a namespace now, by the name of its series; those with labels as `name{a,b}`."""
        namespaces = self.access.walk.walk.take()
        key = key_of(netns, namespaces)
        values: dict[str, int] = {}
        for probe in self.probes.running.values():
            for table in numbers(probe.collect(namespaces)):
                for (cookie, labels), row in table.rows.items():
                    suffix = "{" + ",".join(labels) + "}" if labels else ""
                    if cookie == key:
                        values |= {series.name + suffix: value for series, value in zip(table.series, row, strict=True)}
        return values


@contextmanager
def probing(names: Collection[str] = ()) -> Iterator[tuple[KernelAccess, ProbeSet]]:
    """Run the named probes, or every one, for the time of the block."""
    access = find_kernel_access(legacy=True)
    kinds = catalogue()
    wanted = frozenset(names or kinds)
    probes = ProbeSet(ProbeSelection(wanted, wanted), kinds, access)
    try:
        yield access, probes
    finally:
        probes.close()
        access.walk.walk.close()


@contextmanager
def observing(names: Collection[str] = ()) -> Iterator[Observer]:
    """Run the named probes, or every one, and read their events when the test asks, for the time of the block."""
    with probing(names) as (access, probes):
        sources = [probe.event_source for probe in probes.running.values() if probe.event_source]
        with RingBuffers([source.ring for source in sources]) as rings:
            yield Observer(access, probes, sources, rings)
