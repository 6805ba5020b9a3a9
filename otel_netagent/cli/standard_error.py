"""Standard error by way of a queue: whoever writes to `sys.stderr`, in whatever thread, waits for no reader."""

from __future__ import annotations

import atexit
import io
import sys
import threading
from typing import Final

from otel_netagent.outputs.text.line_queue import LineKind, LineQueue
from otel_netagent.outputs.text.line_writer import LineWriter

_END_S: Final = 0.5
"""How long the end may take to write what still waits."""


def queue_standard_error() -> LineQueue:
    """Have all that goes to `sys.stderr` from now on go through the queue that is returned, which is written at exit.

    That is logging, warnings, tracebacks and exceptions that nobody can catch: all but what C libraries write.
    """
    queue = LineQueue()
    writer = LineWriter(queue, sys.stderr.fileno() if sys.stderr else -1)  # it is None where it was closed at the start
    sys.stderr = QueuedStream(queue)
    atexit.register(writer.close, _END_S)
    return queue


class QueuedStream(io.TextIOBase):
    """A text stream whose lines go to a queue, as log lines. A line is its thread's until it has its end."""

    def __init__(self, queue: LineQueue) -> None:
        """Nothing is written yet."""
        super().__init__()
        self._queue = queue
        self._unfinished = _Unfinished()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str, /) -> int:
        """Hand over the lines that this completes."""
        lines, end, rest = (self._unfinished.text + text).rpartition("\n")
        self._unfinished.text = rest
        if end:
            self._queue.put(LineKind.LOG, lines)
        return len(text)


class _Unfinished(threading.local):
    """What a thread has written since its last line end."""

    text = ""
