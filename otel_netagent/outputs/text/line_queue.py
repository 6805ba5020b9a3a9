"""Lines that wait to be written: bounded in bytes, in their order, and what does not fit is counted."""

from __future__ import annotations

import enum
import sys
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

CAPACITY: Final = 8 << 20
"""As much memory as a delivery may take: 10,000 event lines, with the kernel's stack in each."""


class LineKind(enum.Enum):
    """What a line is about; lost lines are counted by it."""

    EVENT = "event"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines, that nothing may come between: one, or a log line with its traceback."""

    kind: LineKind
    content: bytes

    @property
    def memory(self) -> int:
        """Bytes that they take while they wait."""
        return sys.getsizeof(self) + sys.getsizeof(self.content)


class LineQueue:
    """Handed over by any thread, which never waits, and taken by one.

    Once something did not fit, all that follows is dropped too until everything is written: one gap that one log line
    reports, instead of many small ones.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        """Hold at most so many bytes, those included that are being written."""
        self._capacity = capacity
        self._waiting: deque[Lines] = deque()
        self._held = 0
        self._overflowing = self._ending = False
        self._lost: Counter[LineKind] = Counter()
        self._reported: Counter[LineKind] = Counter()
        # Reentrant: the garbage collector may have something to say while this thread is in here.
        self._changed = threading.Condition(threading.RLock())

    @property
    def held(self) -> int:
        """Bytes of memory that are taken."""
        return self._held

    def lost(self, kind: LineKind) -> int:
        """Lines of a kind that were not written, and will not be."""
        return self._lost[kind]

    def put(self, kind: LineKind, text: str) -> None:
        """Have the text written, which gets a line end. Never waits."""
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
        """Wait for lines: those that come first, `most` bytes of them or a single text. Nothing: it is the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending)
            taken: list[Lines] = []
            while self._waiting and (not taken or len(self._waiting[0].content) <= most):
                taken.append(self._waiting.popleft())
                most -= len(taken[-1].content)
            return taken

    def settle(self, taken: Sequence[Lines], written: int) -> None:
        """So many bytes of what was taken last were written; what is not wholly written is lost."""
        with self._changed:
            for lines in taken:
                self._lose(lines, max(written, 0))
                written -= len(lines.content)
                self._held -= lines.memory
            self._overflowing = self._overflowing and self._held > 0

    def newly_lost(self) -> Mapping[LineKind, int]:
        """Lines lost since this was last asked; none before all that was not lost is written."""
        with self._changed:
            if self._held:
                return {}
            newly = self._lost - self._reported
            self._reported += newly
            return newly

    def end(self) -> None:
        """Let whoever takes not wait for more than there is."""
        with self._changed:
            self._ending = True
            self._changed.notify()

    def _lose(self, lines: Lines, written: int = 0) -> None:
        self._lost[lines.kind] += lines.content[written:].count(b"\n")
