"""Events as lines of text, for standard error."""

from __future__ import annotations

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.outputs.text.line_queue import LineKind, LineQueue
from otel_netagent.printable import printable


class TextSink:
    """Queues the line of each event for standard error, without waiting for its reader."""

    def __init__(self, queue: LineQueue) -> None:
        """The queue also counts the lines that are dropped."""
        self._queue = queue

    def write(self, event: AttributedEvent) -> None:
        """Queue the line of this event."""
        self._queue.put(LineKind.EVENT, printable(event.line))
