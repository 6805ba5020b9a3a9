"""The truth table: each fault of the laboratory, the events that it must make, and those that the agent told."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

from lab import catalogue
from lab.links import Host, Pair, Router, joined_by_router, joined_pair, loopback
from lab.namespace import Namespace
from lab.scenario import Scenario, cases
from lab.truth import Family
from lab.wire import Wire, wired
from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.identity.registry import Registry
from otel_netagent.model.event import Event
from otel_netagent.pipeline.event_reader import EventReader
from tests.faults.expectation import expected, told
from tests.faults.observer import probing

_QUIET_S = 0.1
"""How long nothing must come before a fault's events are taken to be complete: many times what one takes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fault. `delays_ms` is the time from the kernel's time of each event to its reader's."""

    fault: str
    family: str
    expected: int
    seen: int
    missed: int
    false: int
    delays_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float | None:
        """Median time to event."""
        return statistics.median(self.delays_ms) if self.delays_ms else None


class Watch:
    """The agent's way from the kernel to an output, with the time at which each event arrived (Unix, ns)."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._arrived = threading.Condition()
        self._events: list[tuple[Event, int]] = []

    def note(self, attributed: AttributedEvent) -> None:
        """Take an event, as an output does."""
        with self._arrived:
            self._events.append((attributed.event, time.time_ns()))
            self._arrived.notify_all()

    def take(self, netns: Collection[int], at_least: int) -> list[tuple[Event, int]]:
        """The events of these namespaces, when so many have come, or are overdue, and no more do."""

        def ours() -> list[tuple[Event, int]]:
            return [each for each in self._events if each[0].netns in netns]

        with self._arrived:
            self._arrived.wait_for(lambda: len(ours()) >= at_least, timeout=5.0)
            count = -1
            while len(self._events) != count:
                count = len(self._events)
                self._arrived.wait(_QUIET_S)
            found = ours()
            self._events.clear()
            return found


@contextlib.contextmanager
def watching() -> Iterator[Watch]:
    """Run every probe, and read events as the agent does, for the time of the block."""
    watch = Watch()
    with probing() as (_, probes):
        sources = [probe.event_source for probe in probes.running.values() if probe.event_source]
        reader = EventReader(sources, Registry(), [watch.note])
        reader.start()
        try:
            yield watch
        finally:
            reader.stop()


Stage: TypeAlias = AbstractContextManager[tuple[Any, Collection[Host]]]


@contextlib.contextmanager
def on_wire() -> Iterator[tuple[Wire, Collection[Host]]]:
    """The stage of a host that the test talks to packet by packet."""
    with wired() as wire:
        yield wire, [wire.host]


@contextlib.contextmanager
def _on_pair() -> Iterator[tuple[Pair, Collection[Host]]]:
    with joined_pair() as pair:
        yield pair, [pair.client, pair.server]


@contextlib.contextmanager
def _on_loopback() -> Iterator[tuple[Pair, Collection[Host]]]:
    with Namespace() as namespace:
        pair = loopback(namespace)
        yield pair, [pair.client]


@contextlib.contextmanager
def _on_router() -> Iterator[tuple[Router, Collection[Host]]]:
    with joined_by_router() as router:
        yield router, [router.client, router.near, router.server]


_PROGRAMME: tuple[tuple[str, Callable[[], Stage], Collection[Scenario[Any]]], ...] = (
    ("", on_wire, catalogue.ON_WIRE),
    ("", _on_pair, catalogue.ON_PAIR),
    (", loopback", _on_loopback, catalogue.ON_LOOPBACK),
    ("", _on_router, catalogue.ON_ROUTER),
    (" (healthy)", on_wire, catalogue.QUIET_ON_WIRE),
    (" (healthy)", _on_pair, catalogue.QUIET_ON_PAIR),
)


def outcomes() -> Iterator[Outcome]:
    """Make every fault, one after another."""
    with watching() as watch:
        for suffix, stage, scenarios in _PROGRAMME:
            for scenario, family in cases(scenarios):
                yield outcome(watch, stage, scenario, family, scenario.name + suffix)


def outcome(watch: Watch, stage: Callable[[], Stage], scenario: Scenario[Any], family: Family, name: str) -> Outcome:
    """Make one fault on a stage of its own, and compare."""
    with stage() as (set_up, hosts):
        truth = scenario.play(set_up, family)
        must = expected(truth)
        arrived = watch.take({host.namespace.inode for host in hosts}, must.total())
    seen = told((event for event, _ in arrived), truth)
    return Outcome(
        name,
        family.value,
        must.total(),
        (seen & must).total(),
        (must - seen).total(),
        (seen - must).total(),
        tuple((at - event.time_ns) / 1e6 for event, at in arrived),
    )
