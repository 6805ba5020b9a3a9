"""The queue between the threads that add items and the thread that packs them."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a delivery.

    Items are packed `batch` at a time, or fewer once one has waited `linger_s`. When `capacity` items wait, the threads
    that add items help to pack. `memory_bytes` of requests wait in memory, more in the spool if there is one. A request
    is not larger than `request_bytes` if it can be split: gRPC receivers accept 4 MiB by default.
    A receiver that rejects even single items for their size is retried for up to `patience_s`.
    """

    capacity: int
    batch: int = 1
    linger_s: float = 0.0
    memory_bytes: int = 8 << 20
    request_bytes: int = (4 << 20) - (64 << 10)
    patience_s: float = 60.0


class ItemQueue(Generic[ItemT]):
    """A queue from any thread to one thread that waits for batches."""

    def __init__(self, limits: Limits) -> None:
        """Start empty."""
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
        """Whether `capacity` items or more wait."""
        return len(self._items) >= self._limits.capacity

    def wait(self) -> bool:
        """Wait until a batch is due; False when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            self._changed.wait_for(
                lambda: self._closed or len(self._items) >= self._limits.batch, timeout=self._limits.linger_s
            )
            return bool(self._items) or not self._closed

    def take(self) -> list[ItemT]:
        """Remove and return the oldest items, a batch at most."""
        with self._changed:
            return [self._items.popleft() for _ in range(min(self._limits.batch, len(self._items)))]

    def items(self) -> list[ItemT]:
        """The items that wait now."""
        with self._changed:
            return list(self._items)

    def close(self) -> None:
        """Accept no more items, and make `wait` return at once."""
        with self._changed:
            self._closed = True
            self._changed.notify()
