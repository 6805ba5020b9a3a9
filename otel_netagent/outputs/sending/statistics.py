"""Statistics of a delivery: what was delivered, and what was dropped, by cause and by pod."""

from __future__ import annotations

import enum
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from otel_netagent.outputs.sending.request import NO_POD, PodName

_MOST_PODS: Final = 1_000
"""The most pods with counters of their own: pods come and go for as long as the agent runs."""


class Cause(enum.StrEnum):
    """Why items were dropped."""

    QUEUE_FULL = "queue_full"
    """The receiver was unavailable or too slow until memory was full, and there was no spool."""
    SPOOL_FULL = "spool_full"
    """The receiver was unavailable until the spool was full: its oldest requests were dropped."""
    DAMAGED = "damaged"
    """A record of the spool was damaged."""
    TOO_LARGE = "too_large"
    """A single item that is larger than the receiver accepts."""
    REJECTED = "rejected"
    """The receiver accepted the request except for these items (OTLP's partial success)."""
    PERMANENT = "permanent"
    """The receiver rejected the request for good, or each of its items for a minute for its size."""
    SHUTDOWN = "shutdown"
    """Not delivered when the agent stopped, and there was no spool."""


@dataclass(frozen=True, slots=True)
class DeliveryStatistics:
    """State of a delivery at one moment.

    `delivered`, `dropped` (with every cause), `dropped_by_pod` (without zeros) and `queued` (in memory) count log
    records or data points; `failed_tries` counts attempts that the receiver did not accept. `spool_bytes` is the size
    of the spool's files, 0 without a spool.
    """

    delivered: int
    dropped: Mapping[Cause, int]
    dropped_by_pod: Mapping[tuple[Cause, PodName], int]
    failed_tries: int
    queued: int
    spool_bytes: int


class DeliveryCounters:
    """The counters behind DeliveryStatistics. Thread-safe."""

    def __init__(self) -> None:
        """Start at zero."""
        self._lock = threading.Lock()
        self._delivered = 0
        self._failed_tries = 0
        self._dropped: Counter[tuple[Cause, PodName]] = Counter()
        self._pods: set[PodName] = {NO_POD}

    def delivered(self, count: int) -> None:
        """Count what was delivered."""
        with self._lock:
            self._delivered += count

    def failed(self) -> None:
        """Count a request that was not accepted, and is retried, split or dropped."""
        with self._lock:
            self._failed_tries += 1

    def dropped(self, cause: Cause, contents: Mapping[PodName, int]) -> None:
        """Count what was dropped, by pod."""
        with self._lock:
            for pod, count in contents.items():
                if pod not in self._pods and len(self._pods) <= _MOST_PODS:
                    self._pods.add(pod)
                self._dropped[cause, pod if pod in self._pods else NO_POD] += count

    def statistics(self, queued: int, spool_bytes: int) -> DeliveryStatistics:
        """The current counts, together with these two numbers."""
        with self._lock:
            by_cause = dict.fromkeys(Cause, 0)
            for (cause, _), count in self._dropped.items():
                by_cause[cause] += count
            return DeliveryStatistics(
                self._delivered, by_cause, dict(self._dropped), self._failed_tries, queued, spool_bytes
            )
