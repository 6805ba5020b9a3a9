"""What a delivery tells the log: when an outage begins and ends, not every try."""

from __future__ import annotations

import logging
import threading
import time

from otel_netagent.telemetry.delivery.account import Cause
from otel_netagent.telemetry.outcome import Accepted, Outcome, Refused, Retryable, TooLarge

logger = logging.getLogger(__name__)


class Journal:
    """Tells when a receiver stops and begins again to take things, its new complaints, and when a loss begins."""

    def __init__(self, name: str, target: str) -> None:
        """Speak of this delivery."""
        self._name = name
        self._target = target
        self._failing_since: float | None = None
        self._complaint = ""
        self._losses: set[Cause] = set()
        self._lock = threading.Lock()

    def note(self, outcome: Outcome) -> None:
        """What came of a try."""
        match outcome:
            case Accepted(rejected=rejected, message=message):
                self._recovered()
                self._complained(f"rejected {rejected}: {message or 'no reason given'}" if rejected else message)
            case Retryable(reason=reason) | Refused(reason=reason):
                self._failed(reason)
            case TooLarge():
                pass  # sent again in halves

    def lost(self, cause: Cause, count: int) -> None:
        """Something was let go; told once for each cause until the receiver is back. Of the end `end` tells."""
        with self._lock:
            if cause in self._losses or cause is Cause.SHUTDOWN:
                return
            self._losses.add(cause)
        logger.warning("%s: %d let go (%s); what follows of these is only counted", self._name, count, cause)

    def end(self, lost: int, spool_bytes: int) -> None:
        """The delivery is over."""
        if lost:
            logger.warning("%s: %d not delivered to %s before the end", self._name, lost, self._target)
        if spool_bytes:
            logger.info("%s: %d bytes wait in the spool for the next start", self._name, spool_bytes)

    def _failed(self, reason: str) -> None:
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            logger.warning("%s: %s does not take them: %s", self._name, self._target, reason)

    def _recovered(self) -> None:
        if self._failing_since is not None:
            seconds = time.monotonic() - self._failing_since
            self._failing_since = None
            with self._lock:
                self._losses.clear()
            logger.warning("%s: %s takes them again, after %.0f s", self._name, self._target, seconds)

    def _complained(self, complaint: str) -> None:
        if complaint and complaint != self._complaint:
            logger.warning("%s: %s says: %s", self._name, self._target, complaint)
        self._complaint = complaint
