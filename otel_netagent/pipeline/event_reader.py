"""Reading events: from the ring buffers to the outputs, each with the entity that it happened to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from otel_netagent.identity.registry import Registry
from otel_netagent.kernel.clock import monotonic_to_unix_ns
from otel_netagent.kernel.layout import BadRecord
from otel_netagent.kernel.libbpf import BpfError
from otel_netagent.kernel.ring_buffer import Record, RingBuffers
from otel_netagent.probing.declaration import EventSource
from otel_netagent.telemetry.event import AttributedEvent, Event

logger = logging.getLogger(__name__)

_POLL_MS = 100
"""How long a stop may have to wait; an event wakes the thread at once."""

_STOP_S = 0.5


class EventReader:
    """A thread that reads the events of all probes. Of events that come together, the oldest goes first."""

    def __init__(
        self,
        sources: Sequence[EventSource],
        registry: Registry,
        outputs: Sequence[Callable[[AttributedEvent], None]],
    ) -> None:
        """Nothing is read before `start`; `sources` must not be empty. Raises BpfError."""
        self._sources = sources
        self._rings = RingBuffers([source.ring for source in sources])
        self._registry = registry
        self._outputs = outputs
        self.discarded = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read what has come until now, and end. Of a flood that goes on, no more than half a second is read."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        deadline = time.monotonic() + _STOP_S
        while time.monotonic() < deadline and (records := self._rings.drain()):
            self._dispatch(records)
        self._rings.close()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._dispatch(self._rings.poll(_POLL_MS))
        except BpfError as error:
            logger.error("events are read no more: %s", error)  # noqa: TRY400 - the text says it all

    def _dispatch(self, records: Sequence[Record]) -> None:
        if not records:
            return
        offset = monotonic_to_unix_ns()
        events = [event for record in records if (event := self._decode(record, offset))]
        for event in sorted(events, key=lambda each: each.time_ns):
            attributed = AttributedEvent(event, self._registry.lookup(event.netns, event.netns_cookie))
            for output in self._outputs:
                output(attributed)

    def _decode(self, record: Record, offset: int) -> Event | None:
        try:
            return self._sources[record.ring].decode(record.content, offset)
        except BadRecord as error:
            if not self.discarded:
                logger.warning("an event record is discarded (further ones are only counted): %s", error)
            self.discarded += 1
            return None
