"""Another thread that comes in the midst of what a test does, where without a lock it would get through.

Certain rather than lucky: what is locked has the rival started from within its critical section, by a callback or by a
container that calls it, and gives it time. With the lock the rival cannot end before; without it, it does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

_TIME_S: Final = 0.3
"""For what takes microseconds where nothing keeps it out."""


class Rival:
    """Does something in a thread of its own, once, when it is called; `kept_out` tells whether it had to wait."""

    def __init__(self, act: Callable[[], object]) -> None:
        """Nothing is done yet."""
        self._thread: threading.Thread | None = None
        self._act = act
        self._error: Exception | None = None
        self.kept_out = False

    def __call__(self) -> None:
        """Let it try, the first time."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run)
            self._thread.start()
            self._thread.join(_TIME_S)
            self.kept_out = self._thread.is_alive()

    def check(self) -> None:
        """Wait for its end, and make sure that it came in the midst, was kept out, and succeeded then."""
        assert self._thread is not None, "the critical section was not entered"
        self._thread.join(10)
        assert self._error is None, self._error
        assert not self._thread.is_alive()
        assert self.kept_out

    def _run(self) -> None:
        try:
            self._act()
        except Exception as error:  # noqa: BLE001 - of whichever kind, the test is told
            self._error = error


class Crossing(deque[T]):
    """A deque at whose operations a rival comes."""

    rival: Callable[[], object] = staticmethod(lambda: None)

    def append(self, item: T) -> None:
        """As a deque does."""
        self.rival()
        super().append(item)

    def popleft(self) -> T:
        """As a deque does."""
        self.rival()
        return super().popleft()

    def __len__(self) -> int:
        """As a deque does."""
        self.rival()
        return super().__len__()

    def __iter__(self) -> Iterator[T]:
        """As a deque does."""
        self.rival()
        return super().__iter__()
