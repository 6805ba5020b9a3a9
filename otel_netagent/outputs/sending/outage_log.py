"""Log lines of a delivery: when an outage begins and ends, not each attempt."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from otel_netagent.outputs.sending.outcome import Accepted, Outcome, Refused, Retryable, TooLarge
from otel_netagent.outputs.sending.statistics import Cause
from otel_netagent.printable import printable

logger = logging.getLogger(__name__)

_MOST_CHARACTERS: Final = 300
"""How much of a receiver's message is logged: it may be megabytes long."""

_SIZE_AGAIN_S: Final = 3600.0
"""A rejection for size is logged once in this time: probing for a larger limit provokes rejections."""


class OutageLog:
    """Logs when a receiver becomes unavailable, when it is back, its new messages, and the first drop of a cause."""

    def __init__(self, name: str, target: str) -> None:
        """Log for the delivery of this name to this target."""
        self._name = name
        self._target = target
        self._failing_since: float | None = None
        self._complaint = ""
        self._size_logged: float | None = None  # monotonic time
        self._losses: set[Cause] = set()
        self._lock = threading.Lock()

    def note(self, outcome: Outcome, size: int) -> None:
        """A request of `size` bytes was sent, with this outcome."""
        match outcome:
            case Accepted(rejected=rejected, message=message):
                self._recovered()
                self._complained(f"rejected {rejected}: {message or 'no reason given'}" if rejected else message)
            case Retryable(reason=reason):
                self._failed("is unavailable, retrying", reason)
            case Refused(reason=reason):
                self._failed("rejects requests", reason)
            case TooLarge(reason=reason):
                self._too_large(reason, size)

    def dropped(self, cause: Cause, count: int, reason: str = "") -> None:
        """Items were dropped: logged once for each cause until the receiver is back; those at shutdown by `end`."""
        with self._lock:
            if cause in self._losses or cause is Cause.SHUTDOWN:
                return
            self._losses.add(cause)
        why = f"{cause}: {_words(reason)}" if reason else cause
        logger.warning("%s: dropped %d (%s); further drops are counted, not logged", self._name, count, why)

    def end(self, lost: int, spool_bytes: int) -> None:
        """The delivery is closed: `lost` items were dropped, `spool_bytes` stay in the spool."""
        if lost:
            logger.warning("%s: dropped %d at shutdown: %s did not accept them in time", self._name, lost, self._target)
        if spool_bytes:
            logger.info("%s: %d bytes stay in the spool until the next start", self._name, spool_bytes)

    def _failed(self, what: str, reason: str) -> None:
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            logger.warning("%s: %s %s: %s", self._name, self._target, what, _words(reason))

    def _too_large(self, reason: str, size: int) -> None:
        now = time.monotonic()
        if self._size_logged is None or now - self._size_logged > _SIZE_AGAIN_S:
            self._size_logged = now
            logger.warning(
                "%s: %s rejects a request of %d bytes for its size: %s; sending smaller ones: "
                "raise the receiver's limit, or set delivery.request_kilobytes below it",
                self._name,
                self._target,
                size,
                _words(reason),
            )

    def _recovered(self) -> None:
        if self._failing_since is not None:
            seconds = time.monotonic() - self._failing_since
            self._failing_since = None
            self._losses.clear()  # without the lock: clear() is one step, before or after `dropped`
            logger.warning("%s: %s accepts requests again, after %.0f s", self._name, self._target, seconds)

    def _complained(self, complaint: str) -> None:
        if complaint and complaint != self._complaint:
            logger.warning("%s: %s reports: %s", self._name, self._target, _words(complaint))
        self._complaint = complaint


def _words(text: str) -> str:
    """A receiver's message as one line of bounded length without control characters."""
    return printable(" ".join(text[:_MOST_CHARACTERS].split()))
