"""The size limit of requests: as configured, or smaller if the receiver rejects that."""

from __future__ import annotations

from typing import Final

FLOOR_BYTES: Final = 64 << 10
"""Hardly any receiver has a smaller limit."""

_FIRST_STREAK: Final = 8
_LONGEST_STREAK: Final = 512


class RequestSize:
    """The most bytes of a request. It learns the limit of a receiver, which no protocol reports. For one thread.

    The size shrinks with each request that is rejected for its size, but not below 64 KiB, and doubles after a streak
    of accepted requests, up to the configured size. A rejection makes the next streak four times as long; a completed
    streak halves it. So a receiver with a fixed limit soon rejects only one request in 512, and one whose limit was
    raised soon gets large requests again.
    """

    def __init__(self, configured: int) -> None:
        """Start with the configured size."""
        self._most = self._bytes = configured
        self._streak = _FIRST_STREAK  # how many must be accepted before it grows
        self._accepted = 0
        self._before: tuple[int, int] | None = None  # size and streak before the rejections since the last acceptance

    @property
    def bytes(self) -> int:
        """The most bytes that the next request may have."""
        return self._bytes

    def accepted(self, size: int) -> None:
        """A request of `size` bytes was accepted; it counts unless it is much smaller than the limit."""
        self._before = None
        if size >= self._bytes // 4:
            self._accepted += 1
        if self._accepted == self._streak:
            self._accepted = 0
            self._streak = max(_FIRST_STREAK, self._streak // 2)
            self._bytes = min(2 * self._bytes, self._most)

    def rejected(self, size: int) -> None:
        """A request of `size` bytes was rejected for its size."""
        if self._before is None:
            self._before = self._bytes, self._streak
            self._streak = min(4 * self._streak, _LONGEST_STREAK)
        self._accepted = 0
        self._bytes = min(self._bytes, max(FLOOR_BYTES, size * 3 // 4))

    def restore(self) -> None:
        """Undo the rejections since the last acceptance: they had another reason than size."""
        if self._before is not None:
            self._bytes, self._streak = self._before
            self._before = None
