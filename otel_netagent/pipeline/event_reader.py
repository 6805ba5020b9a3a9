"""Reading events: from the ring buffers to the outputs, each with the entity that it happened to."""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import Callable, Sequence
from typing import Final

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.identity.registry import Registry
from otel_netagent.kernel.bpf.layout import BadRecord
from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.bpf.ring_buffer import Record, RingBuffers
from otel_netagent.kernel.clock import monotonic_to_unix_ns
from otel_netagent.model.event import Event
from otel_netagent.pipeline.drop_correlation import DropCorrelator
from otel_netagent.pipeline.periodic_worker import PeriodicWorker
from otel_netagent.probing.declaration import EventSource

logger = logging.getLogger(__name__)

_PACE_S: Final = 0.005
"""A single event is read at once; of many in a row, those that come within this time are read together."""

_DRAIN_S: Final = 0.5


class EventReader:
    """A thread that reads the events of all probes. Of events that come together, the oldest goes first.

    `discarded` counts records that were no events.
    """

    def __init__(
        self,
        sources: Sequence[EventSource],
        registry: Registry,
        outputs: Sequence[Callable[[AttributedEvent], None]],
    ) -> None:
        """Nothing is read before `start`."""
        self._registry = registry
        self._outputs = outputs
        self._correlator = DropCorrelator()
        self.discarded = 0
        self._worker = PeriodicWorker("events", self._read)
        self._interruption = os.eventfd(0)
        self._rings: RingBuffers | None = None
        self._open(sources)

    def start(self) -> None:
        """Begin to read."""
        if self._rings is not None:
            self._worker.go(_PACE_S)

    def read_from(self, sources: Sequence[EventSource], outputs: Sequence[Callable[[AttributedEvent], None]]) -> None:
        """Read these from now on, for these outputs; first, the previous sources to the end, for the previous outputs.

        Nothing is lost of a source that is in both: the ring itself holds the position up to which it has been read.
        """
        if (sources, outputs) == (self._sources, self._outputs):
            return
        self._pause()
        if sources != self._sources:
            self._drain()
            self._close()
            self._open(sources)
        self._outputs = outputs
        self.start()

    def stop(self) -> None:
        """Read what has come until now, and end. If more keeps coming, reading ends after half a second."""
        self._pause()
        self._worker.stop()
        self._drain()
        self._close()
        os.close(self._interruption)

    def _pause(self) -> None:
        """Stop reading until `start`; a wait for records is cut short."""
        os.eventfd_write(self._interruption, 1)
        self._worker.pause()
        os.eventfd_read(self._interruption)

    def _open(self, sources: Sequence[EventSource]) -> None:
        self._sources = sources
        try:
            self._rings = RingBuffers([source.ring for source in sources]) if sources else None
        except BpfError as error:
            logger.error("events are not read: %s", error)  # noqa: TRY400 - the text says it all
        self._wait = _wait_for(self._interruption, *([self._rings.fd] if self._rings else []))

    def _close(self) -> None:
        if self._rings is not None:
            self._rings.close()
            self._rings = None

    def _read(self) -> None:
        self._wait()
        self._dispatch(self._take())

    def _drain(self) -> None:
        deadline = time.monotonic() + _DRAIN_S
        while time.monotonic() < deadline and (records := self._take()):
            self._dispatch(records)

    def _take(self) -> list[Record]:
        """Records that are there now. Rings that cannot be read any more are closed."""
        if self._rings is None:
            return []
        try:
            return self._rings.drain()
        except BpfError as error:
            logger.error("events are read no more: %s", error)  # noqa: TRY400 - the text says it all
            self._worker.suspend()
            self._close()
            return []

    def _dispatch(self, records: Sequence[Record]) -> None:
        if not records:
            return
        offset = monotonic_to_unix_ns()
        events = [event for record in records if (event := self._decode(record, offset))]
        for event in sorted(events, key=lambda each: each.time_ns):
            entity = self._registry.lookup(event.netns, event.netns_cookie)
            attributed = AttributedEvent(self._correlator.joined(event), entity)
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


def _wait_for(*descriptors: int) -> Callable[[], object]:
    """A function that waits until one of these can be read."""
    poll = select.poll()
    for each in descriptors:
        poll.register(each, select.POLLIN)
    return poll.poll
