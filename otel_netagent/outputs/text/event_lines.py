"""Events as lines of text, for standard error."""

from __future__ import annotations

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.outputs.text.line_queue import LineKind, LineQueue


class TextSink:
    """Puts each event's line into the queue for standard error, without waiting for whoever reads that."""

    def __init__(self, queue: LineQueue) -> None:
        """The queue counts what is lost, too."""
        self._queue = queue

    def write(self, event: AttributedEvent) -> None:
        """Have its line written."""
        self._queue.put(LineKind.EVENT, one_line(event.line))


def one_line(text: str) -> str:
    r"""The text with everything unprintable as an escape (`\n`, `\x1b`, `\udc80`).

    A process chooses its own command name: a line break in it must not forge a second event, nor an
    escape sequence reach the reader's terminal.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
