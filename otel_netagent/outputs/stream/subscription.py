"""One subscriber's queue: bounded, never blocking the thread that fills it; it counts what it drops."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from otel_netagent.outputs.stream.filters import Filter


class Subscription:
    """Replies that wait for one subscriber, oldest first.

    When `capacity` replies wait, a new one displaces the oldest: what happens now matters more than what the subscriber
    was too slow to read.
    """

    def __init__(self, wanted: Filter, capacity: int) -> None:
        """Start empty; `wanted` is the subscriber's filter."""
        self.wanted = wanted
        self._capacity = capacity
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._closed = False
        self._changed = threading.Condition()

    def offer(self, reply: bytes) -> bool:
        """Queue a reply; False if an older one was dropped for it."""
        with self._changed:
            full = len(self._waiting) == self._capacity
            if full:
                self._waiting.popleft()
                self._lost += 1
            self._waiting.append(reply)
            self._changed.notify()
        return not full

    def close(self) -> None:
        """End `deliveries` after the replies that still wait."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def deliveries(self) -> Iterator[tuple[int, bytes]]:
        """Each reply with the number of replies dropped just before it; waits for more until `close`."""
        while (delivery := self._next()) is not None:
            yield delivery

    def _next(self) -> tuple[int, bytes] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            lost, self._lost = self._lost, 0
            return lost, self._waiting.popleft()
