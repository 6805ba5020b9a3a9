"""One probe on the running kernel, read when the test wants to know."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from lab.namespace import Namespace
from otel_netagent.kernel.bpf.ring_buffer import RingBuffers
from otel_netagent.kernel.clock import monotonic_to_unix_ns
from otel_netagent.kernel.namespaces import NamespaceWalk
from otel_netagent.model.event import Event
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import catalogue
from otel_netagent.probing.declaration import Environment, EventSettings, EventSource, RunningProbe
from tests.event_page import declared
from tests.tables import key_of, numbers


@dataclass(frozen=True, slots=True)
class Running:
    """A probe and its events."""

    probe: RunningProbe
    walk: NamespaceWalk
    source: EventSource
    rings: RingBuffers

    def events(self, *namespaces: Namespace) -> list[Event]:
        """Events of these namespaces since this was last asked, of whichever."""
        return [event for event in self.all_events() if event.netns in {each.inode for each in namespaces}]

    def all_events(self) -> list[Event]:
        """Events since this or `events` was last asked, of other programs on this machine too."""
        offset = monotonic_to_unix_ns()
        found: list[Event] = []
        while records := self.rings.drain():
            found += [declared(self.source.decode(record.content, offset)) for record in records]
        return found

    def values(self, namespace: Namespace) -> dict[str, int]:
        """Its values of a namespace now, by name of the series; those with labels as `name{a,b}`."""
        values: dict[str, int] = {}
        namespaces = self.walk.take()
        key = key_of(namespace.inode, namespaces)
        for table in numbers(self.probe.collect(namespaces)):
            for (cookie, labels), row in table.rows.items():
                if cookie == key:
                    suffix = "{" + ",".join(labels) + "}" if labels else ""
                    values |= {each.name + suffix: value for each, value in zip(table.series, row, strict=True)}
        return values


@contextlib.contextmanager
def running(name: str, access: KernelAccess, events: EventSettings | None = None) -> Iterator[Running]:
    """Run the probe `name`, which tells events, for the time of the block."""
    environment = Environment(access.facts, access.no_kernel, access.walk)
    probe = catalogue()[name].start(environment)
    with contextlib.closing(probe):
        source = probe.event_source
        assert source is not None
        source.configure(events or EventSettings())
        with RingBuffers([source.ring]) as rings:
            yield Running(probe, access.walk.walk, source, rings)
