"""Latencies in a namespace: exact counts above fixed bounds, and events above a threshold (bpf/include/latency.h)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from otel_netagent.kernel.bpf_object import BpfObject
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.probing.declaration import EventSettings
from otel_netagent.probing.occurrences import Occurrences, events_table, limit_events, uncounted_table
from otel_netagent.telemetry.event import EventType
from otel_netagent.telemetry.series import Kind, Series
from otel_netagent.telemetry.snapshot import Table

_NEVER: Final = 2**64 - 1
_MILLISECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Above:
    """A series that counts what took more than `bound_ms` milliseconds."""

    bound_ms: int
    series: Series


@dataclass(frozen=True, slots=True)
class Latency:
    """A kind of latency: its event, and what counts it, by ascending bounds."""

    event: EventType
    counters: tuple[Above, ...]


def latency_counter(name: str, meaning: str, source: str, *aliases: str) -> Series:
    """The declaration of such a series: `inspector_pod_NAME`."""
    return Series(f"inspector_pod_{name}", Kind.COUNTER, "1", meaning, source, aliases=aliases)


def series_of(latencies: Iterable[Latency]) -> tuple[Series, ...]:
    """All series of these."""
    return tuple(counter.series for latency in latencies for counter in latency.counters)


def set_bounds(bpf_object: BpfObject, latencies: Sequence[Latency]) -> None:
    """Tell an object that is not loaded yet what to count; kinds are numbered by their place in `latencies`."""
    bounds = bpf_object.variable("latency_bounds_ns")
    for number in range(len(bounds)):
        bounds[number] = _NEVER
    for kind, latency in enumerate(latencies):
        first = kind * (len(bounds) // len(bpf_object.variable("event_above_ns")))
        for place, counter in enumerate(latency.counters):
            bounds[first + place] = counter.bound_ms * _MILLISECOND


def limit_latencies(bpf_object: BpfObject, latencies: Sequence[Latency], events: EventSettings | None) -> None:
    """Have a loaded object tell those latencies that are wanted from now on; it counts in any case."""
    thresholds = bpf_object.variable("event_above_ns")
    for kind, latency in enumerate(latencies):
        thresholds[kind] = events.threshold_ns(latency.event) if events else _NEVER
    limit_events(bpf_object, events)


class LatencyCounts:
    """What the object of one probe has counted."""

    def __init__(self, probe: str, latencies: Sequence[Latency], bpf_object: BpfObject) -> None:
        """Use the maps of a loaded object."""
        self._probe = probe
        self._latencies = latencies
        self._series = series_of(latencies)
        self._columns = [
            (kind, place + 1) for kind, latency in enumerate(latencies) for place in range(len(latency.counters))
        ]
        self._occurrences = Occurrences(bpf_object)

    def tables(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        """The series of each namespace, and what became of the events."""
        namespaces = list(namespaces)
        found = self._occurrences.read(namespaces)
        rows = {(each.inode, ()): [0] * len(self._columns) for each in namespaces}
        for each in found:
            row = rows[each.netns, ()]
            for column, (kind, bounds) in enumerate(self._columns):
                if each.kind == kind and each.place >= bounds:
                    row[column] += each.total
        yield Table(self._probe, self._series, {key: tuple(row) for key, row in rows.items()})
        yield events_table(self._probe, found, [latency.event for latency in self._latencies])
        yield uncounted_table(self._probe, self._occurrences.uncounted, namespaces)
