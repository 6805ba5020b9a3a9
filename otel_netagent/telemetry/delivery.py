"""Delivery: a bounded queue and a thread that sends what is in it until the receiver has it."""

from __future__ import annotations

import enum
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from otel_netagent.telemetry.outcome import Accepted, Outcome, Refused, Retryable, Transport

logger = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")
RequestT = TypeVar("RequestT")
ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
RequestT_co = TypeVar("RequestT_co", covariant=True)


class Cause(enum.StrEnum):
    """Why something was let go undelivered."""

    QUEUE_FULL = "queue_full"
    """The receiver was away, or slower than the source, for longer than the queue could hold."""
    REJECTED = "rejected"
    """The receiver took the request but not this part of it (OTLP's partial success)."""
    PERMANENT = "permanent"
    """The receiver refused the whole request for good."""
    SHUTDOWN = "shutdown"
    """Still undelivered when the agent had to end."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What has become of everything that is no longer waiting, in the encoder's unit; every cause is in `let_go`."""

    delivered: int
    let_go: Mapping[Cause, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a queue: `capacity` items at most; sent `batch` at a time, or fewer once one has waited `linger_s`."""

    capacity: int
    batch: int = 1
    linger_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between tries, in seconds: from about `first_s`, twice as long each time, never above `most_s`."""

    first_s: float = 1.0
    most_s: float = 30.0

    def pauses(self) -> Iterator[float]:
        """The pauses without end, each shortened at random, lest all nodes return to a receiver at once."""
        pause = self.first_s
        while True:
            yield pause * random.SystemRandom().uniform(0.5, 1.0)
            pause = min(2 * pause, self.most_s)


class Encoder(Protocol[ItemT_contra, RequestT_co]):
    """Turns items of a signal into a request of a protocol."""

    def encode(self, items: Sequence[ItemT_contra]) -> RequestT_co:
        """One request that holds all these items."""

    def count(self, item: ItemT_contra) -> int:
        """How much the item counts in a tally: its data points, or 1 for a log record."""


class Delivery(Generic[ItemT, RequestT]):
    """Sends the items of one signal from a queue, in a thread of its own that runs from the start.

    A full queue lets its oldest item go. A request that the receiver cannot take now is tried again
    until it is taken or refused for good, while the queue fills behind it.
    """

    def __init__(
        self,
        name: str,
        encoder: Encoder[ItemT, RequestT],
        transport: Transport[RequestT],
        limits: Limits,
        backoff: Backoff | None = None,
    ) -> None:
        """Start sending; `name` ("OTLP metrics") stands in log lines and names the thread."""
        self._encoder = encoder
        self._transport = transport
        self._limits = limits
        self._backoff = backoff or Backoff()
        self._journal = _Journal(name, transport.target)
        self._name = name
        self._queue: deque[ItemT] = deque()
        self._in_hand = 0  # taken from the queue, its fate not yet known
        self._delivered = 0
        self._let_go = dict.fromkeys(Cause, 0)
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __str__(self) -> str:
        """What is sent, and where to."""
        return f"{self._name} to {self._transport.target}"

    def put(self, item: ItemT) -> None:
        """Hand an item over; never blocks."""
        with self._changed:
            if self._closing:
                self._let_go[Cause.SHUTDOWN] += self._encoder.count(item)
                return
            if len(self._queue) == self._limits.capacity:
                self._let_go[Cause.QUEUE_FULL] += self._encoder.count(self._queue.popleft())
            self._queue.append(item)
            if len(self._queue) in {1, self._limits.batch}:
                self._changed.notify()

    @property
    def tally(self) -> Tally:
        """The counts of this moment."""
        with self._changed:
            return Tally(self._delivered, dict(self._let_go))

    def stop(self) -> None:
        """Take nothing more and send what is left at once; does not wait."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def join(self, deadline: float) -> None:
        """Wait for the sending that `stop` began to end, until `deadline` (monotonic time); let the rest go."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        self._abandon()
        self._transport.close()
        if lost := self.tally.let_go[Cause.SHUTDOWN]:
            logger.warning("%s: %d not delivered to %s before the end", self._name, lost, self._transport.target)

    def _run(self) -> None:
        while batch := self._take():
            if not self._deliver(self._encoder.encode(batch)):
                self._abandon()

    def _take(self) -> list[ItemT]:
        """Wait for the next batch; empty when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            self._changed.wait_for(
                lambda: self._closing or len(self._queue) >= self._limits.batch, timeout=self._limits.linger_s
            )
            batch = [self._queue.popleft() for _ in range(min(self._limits.batch, len(self._queue)))]
            self._in_hand = self._count(batch)
            return batch

    def _deliver(self, request: RequestT) -> bool:
        """Send until the fate of the request is known; False if there is no time to learn it."""
        for pause in self._backoff.pauses():
            outcome = self._transport.send(request)
            self._journal.note(outcome)
            match outcome:
                case Accepted(rejected=rejected):
                    self._settle(Cause.REJECTED, rejected)
                    return True
                case Refused():
                    self._settle(Cause.PERMANENT, self._in_hand)
                    return True
                case Retryable(delay_s=delay_s):
                    if self._closing:
                        return False
                    self._wait(max(pause, delay_s or 0.0))
        raise AssertionError("pauses never end")

    def _settle(self, cause: Cause, let_go: int) -> None:
        """Account for what is in hand: this much of it was let go, the rest delivered."""
        with self._changed:
            let_go = min(let_go, self._in_hand)
            self._let_go[cause] += let_go
            self._delivered += self._in_hand - let_go
            self._in_hand = 0

    def _wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, timeout=seconds)

    def _abandon(self) -> None:
        """Let go everything that is still here; an answer that comes after this changes no count."""
        with self._changed:
            self._let_go[Cause.SHUTDOWN] += self._in_hand + self._count(self._queue)
            self._in_hand = 0
            self._queue.clear()

    def _count(self, items: Iterable[ItemT]) -> int:
        return sum(self._encoder.count(item) for item in items)


def close_all(deliveries: Sequence[Delivery[Any, Any]], within_s: float = 1.0) -> None:
    """Flush all at once and end them, in `within_s` seconds altogether, whatever their receivers do."""
    deadline = time.monotonic() + within_s
    for delivery in deliveries:
        delivery.stop()
    for delivery in deliveries:
        delivery.join(deadline)


class _Journal:
    """Tells the log when an outage begins and ends, and when a receiver has a new complaint; not of every try."""

    def __init__(self, name: str, target: str) -> None:
        self._name = name
        self._target = target
        self._failing_since: float | None = None
        self._complaint = ""

    def note(self, outcome: Outcome) -> None:
        match outcome:
            case Accepted(rejected=rejected, message=message):
                self._recovered()
                self._complained(f"rejected {rejected}: {message or 'no reason given'}" if rejected else message)
            case Retryable(reason=reason) | Refused(reason=reason):
                self._failed(reason)

    def _failed(self, reason: str) -> None:
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            logger.warning("%s: %s does not take them: %s", self._name, self._target, reason)

    def _recovered(self) -> None:
        if self._failing_since is not None:
            seconds = time.monotonic() - self._failing_since
            self._failing_since = None
            logger.warning("%s: %s takes them again, after %.0f s", self._name, self._target, seconds)

    def _complained(self, complaint: str) -> None:
        if complaint and complaint != self._complaint:
            logger.warning("%s: %s says: %s", self._name, self._target, complaint)
        self._complaint = complaint
