"""The outbox: requests that wait to be sent, in memory while the receiver accepts them, else on disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from otel_netagent.open_files import ShortageLog
from otel_netagent.outputs.sending.request import EncodedRequest
from otel_netagent.outputs.sending.spool import Spool
from otel_netagent.outputs.sending.statistics import Cause

logger = logging.getLogger(__name__)

_SLOW_S: Final = 1.0
"""When a receiver has not answered for this long, further requests go to the spool: it may never answer."""

_OPEN_AGAIN_S: Final = 1.0


class Outbox:
    """A queue of requests between the thread that packs and the one that sends.

    Requests in the spool are always older than those in memory. While the receiver accepts requests, nothing is written
    to disk. All requests move to the spool when an attempt has failed (`keep`), when the receiver is slow, or when
    memory is full; until the spool is empty again, new requests go there at once.
    """

    def __init__(self, memory_bytes: int, dropped: Callable[[Cause, EncodedRequest], None]) -> None:
        """Keep up to `memory_bytes` in memory; `dropped` is called with what cannot be kept, and must not call back."""
        self._memory_limit = memory_bytes
        self._spool: Spool | None = None
        self._drop = dropped
        self._memory: deque[EncodedRequest] = deque()
        self._memory_bytes = 0
        self._in_hand: EncodedRequest | None = None  # taken by the sender; keeps its position until it is settled
        self._since = 0.0  # when it was taken, monotonic time
        self._ended = False
        self._closed = False
        self._writable = True
        self._unreadable = False
        self._shortage = ShortageLog()
        self._changed = threading.Condition()

    @property
    def queued(self) -> int:
        """Number of log records or data points that wait in memory."""
        with self._changed:
            return sum(request.count for request in self._memory)

    @property
    def spool_bytes(self) -> int:
        """Size of the spool's files."""
        with self._changed:
            return self._spool.bytes if self._spool else 0

    @property
    def closed(self) -> bool:
        """Whether the outbox is closed; then the request in hand has been spooled or dropped."""
        return self._closed  # without the lock: it is set once, before anything else is closed

    def use(self, spool: Spool) -> None:
        """Have a spool from now on. What it holds is older than all that is here, of which nothing is being sent."""
        with self._changed:
            self._spool = spool

    def add(self, request: EncodedRequest) -> None:
        """Add the newest request."""
        with self._changed:
            if self._closed:
                self._drop(Cause.SHUTDOWN, request)
                return
            self._memory.append(request)
            self._memory_bytes += len(request.body)
            if self._spool and (self._spool.bytes or self._is_slow() or self._memory_bytes > self._memory_limit):
                self._move_to(self._spool)
            self._shrink()
            self._changed.notify()

    def end(self) -> None:
        """Say that no more requests will be added."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def take(self) -> EncodedRequest | None:
        """Wait for the oldest request, which stays here until it is settled; None if there will be no more."""
        with self._changed:
            head = None
            while not self._closed and not (head := self._head()) and not self._ended:
                self._changed.wait(_OPEN_AGAIN_S if self._unreadable else None)
            self._in_hand = None if self._closed else head
            self._since = time.monotonic()
            return self._in_hand

    def settle(self) -> bool:
        """Remove the request that was taken; False if the outbox was closed before."""
        with self._changed:
            if self._in_hand is None:
                return False
            if self._memory and self._memory[0] is self._in_hand:
                self._pop()
            elif self._spool and self._spool.head() is self._in_hand:
                self._spool.settle()
            self._in_hand = None
            return True

    def keep(self) -> None:
        """The receiver is unavailable: move everything to disk, if there is a spool."""
        with self._changed:
            if self._spool and not self._closed:
                self._move_to(self._spool)

    def close(self) -> None:
        """Move the rest to disk; drop it if there is no spool."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            if self._in_hand and self._in_hand is not self._head():  # it was displaced while its outcome was unknown
                self._memory.appendleft(self._in_hand)
            self._in_hand = None
            if self._spool:
                self._move_to(self._spool)
                self._spool.close()
            for request in self._memory:
                self._drop(Cause.SHUTDOWN, request)
            self._memory.clear()
            self._changed.notify_all()

    def _head(self) -> EncodedRequest | None:
        try:
            request = self._spool.head() if self._spool else None
        except OSError as error:  # requests in memory wait too, to keep the order
            self._shortage.note(f"requests in the spool {self._spool} wait", error)
            self._unreadable = True
            return None
        self._unreadable = False
        if request:
            return request
        return self._memory[0] if self._memory else None

    def _is_slow(self) -> bool:
        return self._in_hand is not None and time.monotonic() - self._since > _SLOW_S

    def _move_to(self, spool: Spool) -> None:
        while self._memory:
            try:
                for displaced in spool.make_room(self._memory[0]):
                    if displaced is not self._in_hand:  # whose outcome is unknown
                        self._drop(Cause.SPOOL_FULL, displaced)
                spool.append(self._memory[0])
            except OSError as error:
                if self._writable:
                    logger.warning(
                        "cannot write the spool in %s (%s): keeping requests in memory", spool, error.strerror
                    )
                self._writable = False
                return
            self._writable = True
            self._pop()

    def _shrink(self) -> None:
        """Drop the oldest requests that exceed the memory limit, but neither the newest nor the one in hand."""
        oldest = 1 if self._memory and self._memory[0] is self._in_hand else 0
        while self._memory_bytes > self._memory_limit and len(self._memory) > oldest + 1:
            request = self._memory[oldest]
            del self._memory[oldest]
            self._memory_bytes -= len(request.body)
            self._drop(Cause.QUEUE_FULL, request)

    def _pop(self) -> None:
        self._memory_bytes -= len(self._memory.popleft().body)
