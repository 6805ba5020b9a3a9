"""Latencies in a namespace: exact counts above fixed bounds, and events above a threshold (bpf/include/latency.h)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import BadRecord
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.attribute import AttributeValue
from otel_netagent.model.event import Event, EventType
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Table
from otel_netagent.probing.attach import Attached
from otel_netagent.probing.declaration import EventSettings, EventSource
from otel_netagent.probing.duration import MILLISECOND_NS, NEVER_NS
from otel_netagent.probing.flow import flow_attributes, flow_of
from otel_netagent.probing.kernel_event import header_of
from otel_netagent.probing.occurrences import Occurrences, limit_events


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
        bounds[number] = NEVER_NS
    for kind, latency in enumerate(latencies):
        first = kind * (len(bounds) // len(bpf_object.variable("event_above_ns")))
        for place, counter in enumerate(latency.counters):
            bounds[first + place] = counter.bound_ms * MILLISECOND_NS


def limit_latencies(bpf_object: BpfObject, latencies: Sequence[Latency], events: EventSettings | None) -> None:
    """Have a loaded object tell those latencies that are wanted from now on; it counts in any case."""
    thresholds = bpf_object.variable("event_above_ns")
    for kind, latency in enumerate(latencies):
        thresholds[kind] = events.threshold_ns(latency.event) if events else NEVER_NS
    limit_events(bpf_object, events)


class RunningLatencies:
    """A running probe of latencies, which are those of packets or of sockets: each has a flow."""

    def __init__(
        self,
        probe: str,
        latencies: Sequence[Latency],
        attached: Attached,
        details: Callable[[bytes], Mapping[str, AttributeValue]],
    ) -> None:
        """Run what is attached; `details` reads what a record has beside its flow. It may raise BadRecord."""
        self._probe = probe
        self._latencies = latencies
        self._object = attached.object
        self._details = details
        self._series = series_of(latencies)
        self._columns = [
            (kind, place + 1) for kind, latency in enumerate(latencies) for place in range(len(latency.counters))
        ]
        self._occurrences = Occurrences(probe, [latency.event for latency in latencies], self._object)
        self._header = header_of(self._object.btf, f"{probe}_event")
        self._flow = flow_of(self._object.btf, f"{probe}_event")
        self.hooks = attached.hooks
        tell = partial(limit_latencies, self._object, latencies)
        self.event_source = EventSource(self._object.map("events"), self.decode, tell)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        """How often each bound was exceeded in each namespace, and what became of the events."""
        namespaces = list(namespaces)
        found = self._occurrences.read(namespaces)
        rows = {(each.inode, ()): [0] * len(self._columns) for each in namespaces}
        for each in found:
            row = rows[each.netns, ()]
            for column, (kind, bounds) in enumerate(self._columns):
                if each.kind == kind and each.place >= bounds:
                    row[column] += each.total
        yield Table(self._probe, self._series, {key: tuple(row) for key, row in rows.items()})
        yield from self._occurrences.tables(found, namespaces)

    def decode(self, record: bytes, monotonic_to_unix_ns: int) -> Event:
        """One record of the ring buffer as an event. Raises BadRecord."""
        header, flow = self._header.read(record), self._flow.read(record)
        if header.kind >= len(self._latencies):
            raise BadRecord(f"{self._probe}: latency of unknown kind {header.kind}")
        return header.event(
            self._probe,
            self._latencies[header.kind].event,
            monotonic_to_unix_ns,
            {**flow_attributes(flow), **self._details(record)},
        )

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._object.close()
