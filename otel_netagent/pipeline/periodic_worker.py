"""A thread that calls one function again and again, and that pauses between two calls while something is changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class PeriodicWorker:
    """Calls a function at a steady pace, in a thread of its own, from `go` until `pause` or `stop`.

    An error of the function ends the thread, and nobody is kept waiting for it.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        """Nothing is called before `go`; `name` is the thread's."""
        self._work = work
        self._every_s = 0.0
        self._due = 0.0
        self._paused = True
        self._stopping = False
        self._at_work = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def go(self, every_s: float = 0.0, *, first_s: float = 0.0) -> None:
        """Call the function in `first_s` seconds, and from then on every `every_s`."""
        with self._changed:
            self._every_s, self._due, self._paused = every_s, time.monotonic() + first_s, False
            self._changed.notify_all()
        if self._thread.ident is None:
            self._thread.start()

    def suspend(self) -> None:
        """Make no further call before `go`. The function itself may call this; one write needs no lock."""
        self._paused = True

    def pause(self) -> None:
        """As `suspend`, and wait until the call that is under way is over."""
        with self._changed:
            self._paused = True
            self._changed.wait_for(lambda: not self._at_work)

    def stop(self) -> None:
        """End the thread, when the call that is under way is over."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._begin():
            try:
                self._work()
            finally:
                self._end()

    def _begin(self) -> bool:
        """Wait until a call is due; False when there will be none."""
        with self._changed:
            while not self._stopping and (self._paused or time.monotonic() < self._due):
                self._changed.wait(None if self._paused else self._due - time.monotonic())
            self._at_work = not self._stopping
            return self._at_work

    def _end(self) -> None:
        with self._changed:
            self._at_work = False
            # A call that took too long replaces those that were due meanwhile.
            self._due = max(self._due + self._every_s, time.monotonic())
            self._changed.notify_all()
