"""Lines that wait to be written: in order, bounded in bytes; lines that do not fit are counted."""

from __future__ import annotations

import enum
import sys
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

CAPACITY: Final = 8 << 20
"""As much memory as a delivery may use: 10,000 event lines with a kernel stack in each."""


class LineKind(enum.Enum):
    """The kind of a line; dropped lines are counted by it."""

    EVENT = "event"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines that stay together: one line, or a log line with its traceback."""

    kind: LineKind
    content: bytes

    @property
    def memory(self) -> int:
        """Bytes of memory that they use while they wait."""
        return sys.getsizeof(self) + sys.getsizeof(self.content)


class LineQueue:
    """Lines from any thread, which never waits, for one thread that writes them.

    Once a line did not fit, all that follow are dropped too until everything is written: one gap, reported by one log
    line, instead of many small gaps.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        """Hold at most `capacity` bytes, including those that are being written."""
        self._capacity = capacity
        self._waiting: deque[Lines] = deque()
        self._held = 0
        self._overflowing = self._ending = False
        self._lost: Counter[LineKind] = Counter()
        self._reported: Counter[LineKind] = Counter()
        # Reentrant: the garbage collector may log something while this thread holds the lock.
        self._changed = threading.Condition(threading.RLock())

    @property
    def held(self) -> int:
        """Bytes of memory in use."""
        return self._held

    def lost(self, kind: LineKind) -> int:
        """Number of dropped lines of a kind."""
        return self._lost[kind]

    def put(self, kind: LineKind, text: str) -> None:
        """Queue the text, with a line end. Never waits."""
        lines = Lines(kind, text.encode(errors="backslashreplace") + b"\n")
        with self._changed:
            if self._overflowing or self._held + lines.memory > self._capacity:
                self._overflowing = self._held > 0
                self._lose(lines)
                return
            self._waiting.append(lines)
            self._held += lines.memory
            self._changed.notify()

    def take(self, most: int) -> Sequence[Lines]:
        """Wait for lines and return the oldest: at most `most` bytes, or a single text. Empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending)
            taken: list[Lines] = []
            while self._waiting and (not taken or len(self._waiting[0].content) <= most):
                taken.append(self._waiting.popleft())
                most -= len(taken[-1].content)
            return taken

    def settle(self, taken: Sequence[Lines], written: int) -> None:
        """`written` bytes of the lines taken last were written; lines not written completely are dropped."""
        with self._changed:
            for lines in taken:
                self._lose(lines, max(written, 0))
                written -= len(lines.content)
                self._held -= lines.memory
            self._overflowing = self._overflowing and self._held > 0

    def newly_lost(self) -> Mapping[LineKind, int]:
        """Lines dropped since the last call; empty until all other lines are written."""
        with self._changed:
            if self._held:
                return {}
            newly = self._lost - self._reported
            self._reported += newly
            return newly

    def end(self) -> None:
        """Make `take` return at once when nothing is left."""
        with self._changed:
            self._ending = True
            self._changed.notify()

    def _lose(self, lines: Lines, written: int = 0) -> None:
        self._lost[lines.kind] += lines.content[written:].count(b"\n")
