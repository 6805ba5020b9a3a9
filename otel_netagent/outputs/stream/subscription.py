"""One subscriber's queue: bounded, never blocking who fills it, and honest about what it let go."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from otel_netagent.outputs.stream.filters import Filter


class Subscription:
    """Replies on their way to one subscriber, oldest first.

    When `capacity` replies wait, the oldest makes room for a new one: what happens now matters more than what the
    subscriber was too slow to hear of.
    """

    def __init__(self, wanted: Filter, capacity: int) -> None:
        """Begin with nothing waiting; `wanted` is what the subscriber asked for."""
        self.wanted = wanted
        self._capacity = capacity
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._closed = False
        self._changed = threading.Condition()

    def offer(self, reply: bytes) -> bool:
        """Queue a reply; False when an older one was lost for it."""
        with self._changed:
            full = len(self._waiting) == self._capacity
            if full:
                self._waiting.popleft()
                self._lost += 1
            self._waiting.append(reply)
            self._changed.notify()
        return not full

    def close(self) -> None:
        """End `deliveries` once it has given what still waits."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def deliveries(self) -> Iterator[tuple[int, bytes]]:
        """Replies as they come, each with the number of those lost just before it; waits for more until `close`."""
        while (delivery := self._next()) is not None:
            yield delivery

    def _next(self) -> tuple[int, bytes] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            lost, self._lost = self._lost, 0
            return lost, self._waiting.popleft()
