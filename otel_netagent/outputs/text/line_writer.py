"""The only thread that writes to standard error, and so the only one that a slow reader can block."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading

from otel_netagent.outputs.text.line_queue import LineKind, LineQueue

logger = logging.getLogger(__name__)


class LineWriter:
    """Writes the lines of a queue to a file descriptor, whose flags are not changed: other processes share them.

    A write has up to PIPE_BUF bytes, which a pipe accepts as a whole or not at all (pipe(7)): lines of other writers do
    not come between, and no line is torn if the process ends while nobody reads. Once lines can be written again, a log
    line reports how many were dropped.
    """

    def __init__(self, queue: LineQueue, descriptor: int) -> None:
        """Start; with the descriptor -1 everything is dropped."""
        self._queue = queue
        self._descriptor = descriptor
        self._torn = False
        # It may block forever in the kernel, and must not prevent the process from ending.
        self._thread = threading.Thread(target=self._run, name="stderr", daemon=True)
        self._thread.start()

    def close(self, within_s: float) -> None:
        """Write what the queue still holds, for at most `within_s` seconds."""
        self._queue.end()
        self._thread.join(within_s)

    def _run(self) -> None:
        while taken := self._queue.take(select.PIPE_BUF):
            content = b"".join(lines.content for lines in taken)
            written = self._write_lines(content)
            self._queue.settle(taken, written)
            if written == len(content):
                self._report()

    def _report(self) -> None:
        if lost := self._queue.newly_lost():
            logger.warning(
                "standard error was not read, or could not be written: dropped %s event lines and %s log lines; "
                "if its reader is slow, set event_config.infotolog to false",
                lost.get(LineKind.EVENT, 0),
                lost.get(LineKind.LOG, 0),
            )

    def _write_lines(self, content: bytes) -> int:
        """Number of bytes written. After half a line (disk full), the next write begins a new line."""
        if self._torn and not self._write(b"\n"):
            return 0
        written = self._write(content)
        self._torn = 0 < written < len(content) and not content[:written].endswith(b"\n")
        return written

    def _write(self, content: bytes) -> int:
        written = 0
        with contextlib.suppress(OSError):
            while written < len(content):
                written += self._write_some(content[written:])
        return written

    def _write_some(self, content: bytes) -> int:
        try:
            return os.write(self._descriptor, content)
        except BlockingIOError:  # another process that shares it has set O_NONBLOCK
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            poll.poll()
            return 0
