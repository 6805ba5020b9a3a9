"""Splitting a request that a receiver rejects for its size.

A rejected request is split in halves, down to single items. A single item that is rejected too is dropped, if size is
the reason: a receiver with a limit accepts smaller requests. A receiver that accepts nothing at all has another reason
(a proxy that is being reloaded may answer HTTP 413 to everything), and is retried as in any other outage.
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
"""Single items that are tried before the receiver is assumed to accept nothing."""

_CREDIT: Final = 16
"""Single items whose rejection counts as one for size, after a part of a rejected request was accepted."""

Halves: TypeAlias = Callable[[EncodedRequest], tuple[EncodedRequest, EncodedRequest] | None]


class Splitting:
    """One request, in as many parts as needed. Iterate over it for the next part to send."""

    def __init__(self, request: EncodedRequest, halves: Halves, size: RequestSize, patience_s: float) -> None:
        """Start with the whole request. It is rejected for good if nothing is accepted for `patience_s` seconds."""
        self._parts = deque([request])
        self._halves = halves
        self._size = size
        self._patience_s = patience_s
        self._suspects: list[EncodedRequest] = []  # single items, rejected by a receiver that may reject everything
        self._least_rejected: float = math.inf  # bytes of the smallest part that was split after it had been sent
        self._credit = 0
        self._doubtful_since: float | None = None  # monotonic time
        self.outcomes: list[tuple[EncodedRequest, Outcome]] = []

    def __iter__(self) -> Iterator[EncodedRequest]:
        """The next part, until all have an outcome."""
        while self._parts:
            part = self._parts.popleft()
            acceptable = len(part.body) <= self._size.bytes and len(part.body) < self._least_rejected
            if acceptable or not self._divide(part):
                yield part

    def judge(self, part: EncodedRequest, outcome: Outcome) -> Outcome:
        """The meaning of the receiver's answer to a part: Retryable for a rejection whose reason is not the size."""
        match outcome:
            case Retryable():
                return outcome
            case TooLarge(reason=reason):
                return self._rejected(part, outcome, reason)
            case Accepted():
                self._size.accepted(len(part.body))
        self.outcomes.append((part, outcome))
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
            self.outcomes.append((part, outcome))
        elif self._doubtful_since is None and self._parts and len(self._suspects) < _MOST_SUSPECTS:
            self._suspects.append(part)
        else:
            return self._doubt(part, f"{reason} (for {len(part.body)} bytes: size is hardly the reason)")
        return outcome

    def _doubt(self, part: EncodedRequest, reason: str) -> Outcome:
        """Retry this part later; drop what is left once that has lasted too long."""
        self._size.restore()
        self._least_rejected = math.inf
        self._try_suspects_again()
        now = time.monotonic()
        self._doubtful_since = self._doubtful_since or now
        if now - self._doubtful_since < self._patience_s:
            return Retryable(reason)
        refused = Refused(reason)
        self.outcomes += [(each, refused) for each in (part, *self._parts)]
        self._parts.clear()
        return refused

    def _try_suspects_again(self) -> None:
        self._parts.extendleft(reversed(self._suspects))
        self._suspects.clear()

    def _divide(self, part: EncodedRequest) -> bool:
        if halves := self._halves(part):
            self._parts.extendleft(reversed(halves))
        return halves is not None
