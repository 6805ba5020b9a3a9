"""Reading events: from the ring buffers to the outputs, each with the entity that it happened to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from otel_netagent.identity.registry import Registry
from otel_netagent.kernel.clock import monotonic_to_unix_ns
from otel_netagent.kernel.layout import BadRecord
from otel_netagent.kernel.libbpf import BpfError
from otel_netagent.kernel.ring_buffer import Record, RingBuffers
from otel_netagent.pipeline.causes import Causes
from otel_netagent.pipeline.turns import Turns
from otel_netagent.probing.declaration import EventSource
from otel_netagent.telemetry.event import AttributedEvent, Event

logger = logging.getLogger(__name__)

_POLL_MS = 100
"""How long a stop or a change may have to wait; an event wakes the thread at once."""

_DRAIN_S = 0.5


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
        self._causes = Causes()
        self.discarded = 0
        self._turns = Turns("events", self._read)
        self._rings: RingBuffers | None = None
        self._open(sources)

    def start(self) -> None:
        """Begin to read."""
        if self._rings is not None:
            self._turns.go()

    def read_from(self, sources: Sequence[EventSource], outputs: Sequence[Callable[[AttributedEvent], None]]) -> None:
        """Read these from now on, for these outputs; before that, what the sources until now hold, for those until now.

        Nothing is lost of a source that is in both: up to where a ring has been read is written in the ring itself.
        """
        if (sources, outputs) == (self._sources, self._outputs):
            return
        self._turns.pause()
        if sources != self._sources:
            self._drain()
            self._close()
            self._open(sources)
        self._outputs = outputs
        self.start()

    def stop(self) -> None:
        """Read what has come until now, and end. Of a flood that goes on, no more than half a second is read."""
        self._turns.stop()
        self._drain()
        self._close()

    def _open(self, sources: Sequence[EventSource]) -> None:
        self._sources = sources
        try:
            self._rings = RingBuffers([source.ring for source in sources]) if sources else None
        except BpfError as error:
            logger.error("events are not read: %s", error)  # noqa: TRY400 - the text says it all

    def _close(self) -> None:
        if self._rings is not None:
            self._rings.close()
            self._rings = None

    def _read(self) -> None:
        self._dispatch(self._take(lambda rings: rings.poll(_POLL_MS)))

    def _drain(self) -> None:
        deadline = time.monotonic() + _DRAIN_S
        while time.monotonic() < deadline and (records := self._take(RingBuffers.drain)):
            self._dispatch(records)

    def _take(self, take: Callable[[RingBuffers], list[Record]]) -> list[Record]:
        """Records that the rings give in this way. Rings that cannot be read any more are given up."""
        if self._rings is None:
            return []
        try:
            return take(self._rings)
        except BpfError as error:
            logger.error("events are read no more: %s", error)  # noqa: TRY400 - the text says it all
            self._turns.suspend()
            self._close()
            return []

    def _dispatch(self, records: Sequence[Record]) -> None:
        if not records:
            return
        offset = monotonic_to_unix_ns()
        events = [event for record in records if (event := self._decode(record, offset))]
        for event in sorted(events, key=lambda each: each.time_ns):
            entity = self._registry.lookup(event.netns, event.netns_cookie)
            attributed = AttributedEvent(self._causes.joined(event), entity)
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
