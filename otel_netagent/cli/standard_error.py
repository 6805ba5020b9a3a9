"""Standard error through a queue: no thread that writes to `sys.stderr` waits for its reader."""

from __future__ import annotations

import atexit
import io
import sys
import threading
from typing import Final

from otel_netagent.outputs.text.line_queue import LineKind, LineQueue
from otel_netagent.outputs.text.line_writer import LineWriter

_END_S: Final = 0.5
"""How long writing the remaining lines may take at exit."""


def queue_standard_error() -> LineQueue:
    """Send everything written to `sys.stderr` from now on through the returned queue; the rest is written at exit.

    That is logging, warnings and tracebacks: everything except what C libraries write.
    """
    queue = LineQueue()
    writer = LineWriter(queue, sys.stderr.fileno() if sys.stderr else -1)  # it is None if it was closed at the start
    sys.stderr = QueuedStream(queue)
    atexit.register(writer.close, _END_S)
    return queue


class QueuedStream(io.TextIOBase):
    """A text stream whose lines go to a queue as log lines. Each thread completes its own lines."""

    def __init__(self, queue: LineQueue) -> None:
        """Write to this queue."""
        super().__init__()
        self._queue = queue
        self._unfinished = _Unfinished()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str, /) -> int:
        """Queue the lines that this text completes."""
        lines, end, rest = (self._unfinished.text + text).rpartition("\n")
        self._unfinished.text = rest
        if end:
            self._queue.put(LineKind.LOG, lines)
        return len(text)


class _Unfinished(threading.local):
    """The text that a thread has written since its last line end."""

    text = ""
