"""What every probe of events does: count occurrences, emit events of them, and say what became of those."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.attribute import AttributeValue
from otel_netagent.model.event import Event, EventType
from otel_netagent.model.table import HistogramTable, Table
from otel_netagent.probing.attach import Attached
from otel_netagent.probing.declaration import EventSettings, EventSource
from otel_netagent.probing.kernel_event import header_of
from otel_netagent.probing.occurrences import Occurrence, Occurrences, limit_events


class EventProbe(ABC):
    """A running probe whose eBPF object counts occurrences (bpf/include/occurrences.h) and emits events of them.

    A probe adds its tables, and reads of a record what follows the header.
    """

    def __init__(self, name: str, types: Sequence[EventType], attached: Attached) -> None:
        """Run what is attached; its records are `struct NAME_event`."""
        self._name = name
        self._object = attached.object
        self._occurrences = Occurrences(name, types, self._object)
        self._header = header_of(self._object.btf, f"{name}_event")
        self.hooks = attached.hooks
        self.event_source = EventSource(self._object.map("events"), self.decode, self._limit)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table | HistogramTable]:
        """Its numbers, and what became of its events."""
        namespaces = list(namespaces)
        found = self._occurrences.read(namespaces)
        yield from self._tables(found, namespaces)
        yield from self._occurrences.tables(found, namespaces)

    def decode(self, record: bytes, monotonic_to_unix_ns: int) -> Event:
        """One record of the ring buffer as an event. Raises BadRecord."""
        header = self._header.read(record)
        event_type, attributes = self._read(record, header.kind)
        time_ns = header.time_ns + monotonic_to_unix_ns
        return Event(self._name, event_type, time_ns, header.netns_inode, header.netns_cookie, attributes)

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._object.close()

    def _limit(self, events: EventSettings | None) -> None:
        """Have the object emit as many events as are wanted from now on; it counts in any case."""
        limit_events(self._object, events)

    def _tables(
        self,
        found: Sequence[Occurrence],  # noqa: ARG002 - for those that have numbers
        namespaces: Sequence[Namespace],  # noqa: ARG002
    ) -> Iterable[Table | HistogramTable]:
        """The numbers of these namespaces, where these occurrences were found; none of those that have only events."""
        return ()

    @abstractmethod
    def _read(self, record: bytes, kind: int) -> tuple[EventType, Mapping[str, AttributeValue]]:
        """What a record of this kind says. Raises BadRecord."""
