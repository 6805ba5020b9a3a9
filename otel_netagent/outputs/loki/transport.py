"""Pushing to Loki of any version, and the meaning of its answers."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from otel_netagent.outputs.content_coding import gzipped
from otel_netagent.outputs.loki.address import own_headers
from otel_netagent.outputs.loki.streams import without_metadata
from otel_netagent.outputs.sending.http_post import Answer, Post, PostFailed
from otel_netagent.outputs.sending.outcome import Accepted, Outcome, Refused, Retryable, TooLarge
from otel_netagent.outputs.sending.tls import Tls

logger = logging.getLogger(__name__)

_TIMEOUT_S: Final = 10.0
_HEADERS: Final = {"Content-Type": "application/json", "Content-Encoding": "gzip"}

_PLAIN_S: Final = 600.0

_SIZE_REFUSED: Final = re.compile("request body too large|message larger than max|message size too large")
"""How Loki's server, and gRPC between its components, report a request that is too large, with any status."""

_OF_ENTRIES: Final = re.compile(r"\bentry\b|\bfor stream\b|\bstream '")
"""Found in errors about entries of a request that Loki could parse (Loki's pkg/validation/validate.go, and the
ingester's stream.go). If it cannot parse a request, such as metadata before 2.9, the parser reports it."""

_IGNORED: Final = re.compile(r"total ignored: (\d+) out of")
"""The ingester reports this once for each stream."""

_ALIKE: Final = re.compile(r"(\d+) errors? like:")
"""The distributor, which checks each entry first, reports this."""


class PushTransport:
    """Posts requests, gzipped.

    The environment may add headers (own_headers). A Loki that rejects structured metadata (before 2.9, or by its
    configuration) gets labels and lines only; metadata is tried again after `plain_s` seconds, since Loki may have been
    upgraded by then.
    """

    def __init__(
        self, url: str, environ: Mapping[str, str], *, timeout_s: float = _TIMEOUT_S, plain_s: float = _PLAIN_S
    ) -> None:
        """Push to this URL. Raises LokiAddressError."""
        self._url = url
        self._plain_s = plain_s
        self._plain_until: float | None = None  # monotonic time
        self._post = Post(url, _HEADERS | own_headers(environ), Tls() if url.startswith("https:") else None, timeout_s)

    @property
    def target(self) -> str:
        """The receiver, as log lines name it."""
        return self._url

    def send(self, body: bytes) -> Outcome:
        """Send once, or twice if Loki turns out to reject metadata."""
        try:
            if self._plain_until is not None and time.monotonic() < self._plain_until:
                return _outcome(self._send(without_metadata(body)))
            answer = self._send(body)
            if not _refuses_metadata(answer):
                self._plain_until = None
                return _outcome(answer)
            outcome = _outcome(self._send(without_metadata(body)))
        except PostFailed as error:
            return Retryable(str(error))
        except (ValueError, KeyError, TypeError):
            return Refused("the request cannot be decoded")
        if isinstance(outcome, Accepted):
            if self._plain_until is None:
                logger.warning("%s rejects structured metadata, sending it lines only: %s", self._url, answer.complaint)
            self._plain_until = time.monotonic() + self._plain_s
        return outcome

    def close(self) -> None:
        """Close the idle connection; a request in progress continues until its timeout."""
        self._post.close()

    def _send(self, body: bytes) -> Answer:
        return self._post.send(gzipped((body,)))


def _outcome(answer: Answer) -> Outcome:
    if 200 <= answer.status < 300:
        return Accepted()
    text, reason = _text(answer), f"HTTP status {answer.status}: {answer.complaint}"
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or _SIZE_REFUSED.search(text):
        return TooLarge(reason)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= 500:
        return Retryable(reason, answer.retry_after_s)
    if answer.status == HTTPStatus.BAD_REQUEST and _OF_ENTRIES.search(text):
        return Accepted(_rejected(text), reason)
    return Refused(reason)


def _refuses_metadata(answer: Answer) -> bool:
    text = _text(answer)
    if answer.status != HTTPStatus.BAD_REQUEST or _SIZE_REFUSED.search(text):
        return False
    return "structured metadata" in text or not _OF_ENTRIES.search(text)


def _rejected(text: str) -> int:
    """Number of entries that Loki rejected while it accepted the others, as it reports it; it may report too few."""
    return sum(int(number) for pattern in (_IGNORED, _ALIKE) for number in pattern.findall(text)) or 1


def _text(answer: Answer) -> str:
    return answer.content.decode(errors="replace")
