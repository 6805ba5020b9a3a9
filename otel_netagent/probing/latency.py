"""Latencies in a namespace: exact counts above fixed bounds, and events above a threshold (bpf/include/latency.h)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import BadRecord
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.attribute import AttributeValue
from otel_netagent.model.event import EventType
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Table
from otel_netagent.probing.attach import Attached
from otel_netagent.probing.declaration import EventSettings
from otel_netagent.probing.duration import MILLISECOND_NS, NEVER_NS
from otel_netagent.probing.event_probe import EventProbe
from otel_netagent.probing.flow import flow_attributes, flow_of
from otel_netagent.probing.occurrences import Occurrence, limit_events


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
    """Set, in an object that is not loaded yet, what to count; kinds are numbered by their place in `latencies`."""
    bounds = bpf_object.variable("latency_bounds_ns")
    for number in range(len(bounds)):
        bounds[number] = NEVER_NS
    for kind, latency in enumerate(latencies):
        first = kind * (len(bounds) // len(bpf_object.variable("event_above_ns")))
        for place, counter in enumerate(latency.counters):
            bounds[first + place] = counter.bound_ms * MILLISECOND_NS


def limit_latencies(bpf_object: BpfObject, latencies: Sequence[Latency], events: EventSettings | None) -> None:
    """Have a loaded object emit events above these thresholds from now on, or none; it counts in any case."""
    thresholds = bpf_object.variable("event_above_ns")
    for kind, latency in enumerate(latencies):
        thresholds[kind] = events.threshold_ns(latency.event) if events else NEVER_NS
    limit_events(bpf_object, events)


class RunningLatencies(EventProbe):
    """A running probe of latencies, which are those of packets or of sockets: each has a flow."""

    def __init__(
        self,
        probe: str,
        latencies: Sequence[Latency],
        attached: Attached,
        details: Callable[[bytes], Mapping[str, AttributeValue]],
    ) -> None:
        """Run what is attached; `details` reads what a record has beside its flow. It may raise BadRecord."""
        super().__init__(probe, [latency.event for latency in latencies], attached)
        self._latencies = latencies
        self._details = details
        self._series = series_of(latencies)
        self._columns = [
            (kind, place + 1) for kind, latency in enumerate(latencies) for place in range(len(latency.counters))
        ]
        self._flow = flow_of(self._object.btf, f"{probe}_event")

    def _limit(self, events: EventSettings | None) -> None:
        limit_latencies(self._object, self._latencies, events)

    def _tables(self, found: Sequence[Occurrence], namespaces: Sequence[Namespace]) -> Iterable[Table]:
        """How often each bound was exceeded in each namespace."""
        rows = {(each.cookie, ()): [0] * len(self._columns) for each in namespaces}
        for each in found:
            row = rows[each.netns_cookie, ()]
            for column, (kind, bounds) in enumerate(self._columns):
                if each.kind == kind and each.location >= bounds:
                    row[column] += each.total
        yield Table(self._name, self._series, {key: tuple(row) for key, row in rows.items()})

    def _read(self, record: bytes, kind: int) -> tuple[EventType, dict[str, AttributeValue]]:
        if kind >= len(self._latencies):
            raise BadRecord(f"{self._name}: latency of unknown kind {kind}")
        return self._latencies[kind].event, {**flow_attributes(self._flow.read(record)), **self._details(record)}
