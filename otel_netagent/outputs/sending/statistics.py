"""The counters of a delivery: what has arrived and what was let go, by cause and by pod."""

from __future__ import annotations

import enum
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from otel_netagent.outputs.sending.request import NO_POD, PodName

_MOST_PODS: Final = 1_000
"""Pods that the counters tells apart: they come and go for as long as the agent runs."""


class Cause(enum.StrEnum):
    """Why something was let go undelivered."""

    QUEUE_FULL = "queue_full"
    """The receiver was away, or too slow, for longer than memory could hold, and no spool took the rest."""
    SPOOL_FULL = "spool_full"
    """The receiver was away for longer than the spool's limit allows: its oldest part made room."""
    DAMAGED = "damaged"
    """A record of the spool did not read back as it was written."""
    TOO_LARGE = "too_large"
    """A single item that is larger than the receiver accepts."""
    REJECTED = "rejected"
    """The receiver took the request but not this part of it (OTLP's partial success)."""
    PERMANENT = "permanent"
    """The receiver rejected the whole request for good, or for a minute each single item of it for its size."""
    SHUTDOWN = "shutdown"
    """Still undelivered when the agent had to end, and no spool took it."""


@dataclass(frozen=True, slots=True)
class DeliveryStatistics:
    """State of a delivery at one moment.

    Log records or data points are counted in `delivered`, in `dropped` (which has every cause), in
    `dropped_by_pod` (which has what was not zero) and in `queued`, which are those that wait in memory.
    `failed_tries` counts requests that a receiver did not take at once. `spool_bytes` is the size of the
    spool's files, 0 without a spool.
    """

    delivered: int
    dropped: Mapping[Cause, int]
    dropped_by_pod: Mapping[tuple[Cause, PodName], int]
    failed_tries: int
    queued: int
    spool_bytes: int


class DeliveryCounters:
    """Counts, from any thread."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._delivered = 0
        self._failed_tries = 0
        self._dropped: Counter[tuple[Cause, PodName]] = Counter()
        self._pods: set[PodName] = {NO_POD}

    def delivered(self, count: int) -> None:
        """Count what has arrived."""
        with self._lock:
            self._delivered += count

    def failed(self) -> None:
        """Count a request that was not taken, and is tried again, split or dropped."""
        with self._lock:
            self._failed_tries += 1

    def dropped(self, cause: Cause, contents: Mapping[PodName, int]) -> None:
        """Count what was let go, by whom it spoke of."""
        with self._lock:
            for pod, count in contents.items():
                if pod not in self._pods and len(self._pods) <= _MOST_PODS:
                    self._pods.add(pod)
                self._dropped[cause, pod if pod in self._pods else NO_POD] += count

    def statistics(self, queued: int, spool_bytes: int) -> DeliveryStatistics:
        """The counts of this moment, beside what the others know."""
        with self._lock:
            by_cause = dict.fromkeys(Cause, 0)
            for (cause, _), count in self._dropped.items():
                by_cause[cause] += count
            return DeliveryStatistics(
                self._delivered, by_cause, dict(self._dropped), self._failed_tries, queued, spool_bytes
            )
