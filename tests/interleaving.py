"""Two threads that meet where a lock keeps them apart: for certain, and not by luck."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from lab.waiting import eventually

_PATIENCE_S = 10.0
_new_lock = threading.Lock


@dataclass
class Meeting:
    """The first thread that comes to `hold` stays there until the other has ended, or waits for a lock."""

    held: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)
    free: threading.Event = field(default_factory=threading.Event)

    def hold(self) -> None:
        """Put this where the lock must be held."""
        if not self.held.is_set():
            self.held.set()
            assert self.free.wait(_PATIENCE_S)

    @contextmanager
    def watching_locks(self) -> Iterator[None]:
        """What makes its locks in this block makes such as report who waits for them."""
        with pytest.MonkeyPatch.context() as patch:
            for kind in ("Lock", "RLock"):
                patch.setattr(threading, kind, lambda: _ReportingLock(self.waiting))
            yield

    def of(self, first: Callable[[], object], second: Callable[[], object]) -> None:
        """Call both, the second while the first is held."""
        with ThreadPoolExecutor(max_workers=2) as threads:
            one = threads.submit(first)
            try:
                assert self.held.wait(_PATIENCE_S)
                self.waiting.clear()
                other = threads.submit(second)
                eventually(lambda: other.done() or self.waiting.is_set(), _PATIENCE_S)
            finally:
                self.free.set()
            one.result(_PATIENCE_S)
            other.result(_PATIENCE_S)


class _ReportingLock:
    def __init__(self, waiting: threading.Event) -> None:
        self._lock = _new_lock()
        self._waiting = waiting

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._lock.acquire(blocking=False):
            return True
        if not blocking:
            return False
        self._waiting.set()
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: Any) -> None:  # noqa: ANN401 - the error, if any
        self.release()
