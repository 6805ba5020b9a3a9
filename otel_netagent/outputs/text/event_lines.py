"""Events as lines of text, for standard error."""

from __future__ import annotations

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.outputs.text.line_queue import LineKind, LineQueue
from otel_netagent.printable import printable


class TextSink:
    """Puts each event's line into the queue for standard error, without waiting for whoever reads that."""

    def __init__(self, queue: LineQueue) -> None:
        """The queue counts what is lost, too."""
        self._queue = queue

    def write(self, event: AttributedEvent) -> None:
        """Have its line written."""
        self._queue.put(LineKind.EVENT, printable(event.line))
