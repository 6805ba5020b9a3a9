"""The queue between those who hand items over and the thread that packs them."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a delivery.

    Items are packed `batch` at a time, or fewer once one has waited `linger_s`. If ever `capacity` of them
    wait to be packed, whoever hands them over has to help. Packed, `memory_bytes` of them wait in memory,
    more in the spool if there is one. No request is larger than `request_bytes`, if it can be split:
    receivers over gRPC accept 4 MiB unless configured, of which this leaves a margin. A receiver that rejects
    even single items for their size is waited for, up to `patience_s`.
    """

    capacity: int
    batch: int = 1
    linger_s: float = 0.0
    memory_bytes: int = 8 << 20
    request_bytes: int = (4 << 20) - (64 << 10)
    patience_s: float = 60.0


class ItemQueue(Generic[ItemT]):
    """A queue from any thread to one that waits for a batch."""

    def __init__(self, limits: Limits) -> None:
        """An empty queue with batches of this size."""
        self._limits = limits
        self._items: deque[ItemT] = deque()
        self._closed = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    def put(self, item: ItemT) -> bool:
        """Add an item; False once the queue is closed."""
        with self._lock:  # the same as the condition's, at half the cost
            if self._closed:
                return False
            self._items.append(item)
            if len(self._items) in {1, self._limits.batch}:
                self._changed.notify()
            return True

    @property
    def full(self) -> bool:
        """Whether more wait than should."""
        return len(self._items) >= self._limits.capacity

    def wait(self) -> bool:
        """Wait until it is time for a batch; False when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            self._changed.wait_for(
                lambda: self._closed or len(self._items) >= self._limits.batch, timeout=self._limits.linger_s
            )
            return bool(self._items) or not self._closed

    def take(self) -> list[ItemT]:
        """The oldest items, a batch at most."""
        with self._changed:
            return [self._items.popleft() for _ in range(min(self._limits.batch, len(self._items)))]

    def items(self) -> list[ItemT]:
        """What is waiting now."""
        with self._changed:
            return list(self._items)

    def close(self) -> None:
        """Let nothing more in, and let `wait` return at once."""
        with self._changed:
            self._closed = True
            self._changed.notify()
