"""Splitting: how a request reaches a receiver that rejects it for its size.

A rejected request is split in halves, down to single items. A single item that is rejected too is dropped, if size is
the reason: a receiver that has a limit accepts what is smaller. One that accepts nothing at all has another reason (a
proxy that is being reloaded may answer HTTP 413 to everything), and is waited for as in any other outage.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from otel_netagent.outputs.sending.outcome import Accepted, Outcome, Refused, Retryable, TooLarge
from otel_netagent.outputs.sending.request import EncodedRequest
from otel_netagent.outputs.sending.request_size import FLOOR_BYTES, RequestSize

_MOST_SUSPECTS: Final = 4
"""Single items that are tried before it is concluded that the receiver accepts nothing."""

_CREDIT: Final = 16
"""Single items whose rejection is believed once a part of what was rejected has been accepted."""

Halves: TypeAlias = Callable[[EncodedRequest], tuple[EncodedRequest, EncodedRequest] | None]


class Splitting:
    """One request on its way, in as many parts as it takes. Iterating gives what to send next."""

    def __init__(self, request: EncodedRequest, halves: Halves, size: RequestSize, patience_s: float) -> None:
        """Begin with all of it; a receiver that accepts nothing for `patience_s` seconds refuses it."""
        self._parts = deque([request])
        self._halves = halves
        self._size = size
        self._patience_s = patience_s
        self._suspects: list[EncodedRequest] = []  # single items, rejected by a receiver that may reject everything
        self._least_rejected: float = math.inf  # bytes of the smallest part that was split after it had been sent
        self._credit = 0
        self._doubtful_since: float | None = None  # monotonic time
        self.fates: list[tuple[EncodedRequest, Outcome]] = []

    def __iter__(self) -> Iterator[EncodedRequest]:
        """The next part, until each has its fate."""
        while self._parts:
            part = self._parts.popleft()
            acceptable = len(part.body) <= self._size.bytes and len(part.body) < self._least_rejected
            if acceptable or not self._divide(part):
                yield part

    def judge(self, part: EncodedRequest, outcome: Outcome) -> Outcome:
        """What the receiver's answer to a part means: Retryable for a rejection whose reason is not the size."""
        match outcome:
            case Retryable():
                return outcome
            case TooLarge(reason=reason):
                return self._rejected(part, outcome, reason)
            case Accepted():
                self._size.accepted(len(part.body))
        self.fates.append((part, outcome))
        self._doubtful_since = None
        self._credit = _CREDIT if self._least_rejected < math.inf else 0
        self._try_suspects_again()
        return outcome

    def _rejected(self, part: EncodedRequest, outcome: Outcome, reason: str) -> Outcome:
        self._size.rejected(len(part.body))
        if self._divide(part):
            self._least_rejected = len(part.body)
        elif len(part.body) > FLOOR_BYTES or self._credit:
            self._credit = max(0, self._credit - 1)
            self.fates.append((part, outcome))
        elif self._doubtful_since is None and self._parts and len(self._suspects) < _MOST_SUSPECTS:
            self._suspects.append(part)
        else:
            return self._doubt(part, f"{reason} (for {len(part.body)} bytes: hardly for their size)")
        return outcome

    def _doubt(self, part: EncodedRequest, reason: str) -> Outcome:
        """Wait, and begin again with this part; give up what is left once that has lasted too long."""
        self._size.restore()
        self._least_rejected = math.inf
        self._try_suspects_again()
        now = time.monotonic()
        self._doubtful_since = self._doubtful_since or now
        if now - self._doubtful_since < self._patience_s:
            return Retryable(reason)
        refused = Refused(reason)
        self.fates += [(each, refused) for each in (part, *self._parts)]
        self._parts.clear()
        return refused

    def _try_suspects_again(self) -> None:
        self._parts.extendleft(reversed(self._suspects))
        self._suspects.clear()

    def _divide(self, part: EncodedRequest) -> bool:
        if halves := self._halves(part):
            self._parts.extendleft(reversed(halves))
        return halves is not None
