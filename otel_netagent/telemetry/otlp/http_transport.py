"""OTLP over HTTP, with protobuf bodies."""

from __future__ import annotations

import gzip
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import requests
import zstandard
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from otel_netagent import __version__
from otel_netagent.telemetry.otlp.environment import Compression, Destination
from otel_netagent.telemetry.otlp.response import accepted, response_type
from otel_netagent.telemetry.otlp.tls import Renewal, Tls
from otel_netagent.telemetry.outcome import Accepted, Outcome, Refused, Retryable, TooLarge

_PROTOBUF = "application/x-protobuf"

_MOST_ANSWER_BYTES: Final = 16 << 10
"""An answer is a few bytes, or a complaint."""

_RETRYABLE = frozenset({429, 502, 503, 504})
"""OTLP specification, "Retryable Response Codes"."""

_SIZE_REFUSED: Final = "request body too large"
"""What Go's http.MaxBytesReader says, which the collector passes on with status 400."""


class HttpTransport:
    """Posts requests of one signal on a connection that is kept open, until certificates are renewed."""

    def __init__(self, destination: Destination) -> None:
        """Send to this destination."""
        self._destination = destination
        self._renewal = Renewal(destination.tls)
        self._session = _session(destination)
        tls = destination.tls or Tls()
        self._verify = tls.ca or True
        self._cert = (tls.client_certificate, tls.client_key) if tls.client_certificate and tls.client_key else None

    @property
    def target(self) -> str:
        """The receiver, as a log line names it."""
        return self._destination.address

    def send(self, body: bytes) -> Outcome:
        """Send once."""
        if self._renewal.happened():
            self._session.close()
            self._session = _session(self._destination)
        deadline = time.monotonic() + self._destination.timeout_s
        try:
            with self._session.post(
                self._destination.address,
                data=_compressed(body, self._destination.compression),
                timeout=self._destination.timeout_s,
                # With each request: else a bundle that the environment names would go before the session's.
                verify=self._verify,
                cert=self._cert,
                allow_redirects=False,  # a redirected POST would become a GET
                stream=True,
            ) as response:
                return self._outcome(response, _content(response, deadline))
        except requests.RequestException as error:
            return Retryable(_root_cause(error))

    def close(self) -> None:
        """Close the idle connection; a request under way goes on until its timeout."""
        self._session.close()

    def _outcome(self, response: requests.Response, content: bytes) -> Outcome:
        if 200 <= response.status_code < 300:
            return self._success(response, content)
        reason = f"HTTP status {response.status_code}: {_message(response, content)}"
        if response.status_code in _RETRYABLE:
            return Retryable(reason, _retry_after_s(response))
        if response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or _SIZE_REFUSED in reason:
            return TooLarge(reason)
        return Refused(reason)

    def _success(self, response: requests.Response, content: bytes) -> Outcome:
        if not _is_protobuf(response):  # receivers that answer with JSON or nothing at all exist
            return Accepted()
        try:
            return accepted(response_type(self._destination.signal).FromString(content))
        except DecodeError:
            return Refused(
                f"HTTP status {response.status_code}, but the answer is not OTLP: is this the right address?"
            )


def _session(destination: Destination) -> requests.Session:
    session = requests.Session()
    session.headers.update(destination.headers)
    session.headers.update({"User-Agent": f"otel-netagent/{__version__}", "Content-Type": _PROTOBUF})
    if destination.compression is not Compression.NONE:
        session.headers["Content-Encoding"] = destination.compression.value
    return session


def _compressed(body: bytes, compression: Compression) -> bytes:
    match compression:
        case Compression.NONE:
            return body
        case Compression.GZIP:
            return gzip.compress(body, compresslevel=1)
        case Compression.ZSTD:
            return zstandard.compress(body)


def _is_protobuf(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").partition(";")[0].strip() == _PROTOBUF


def _content(response: requests.Response, deadline: float) -> bytes:
    """The answer's body, or its beginning. Raises requests.Timeout when it takes longer than until then (monotonic)."""
    content = bytearray()
    # Byte by byte, since a larger read waits for all of it, and the timeout of a socket begins anew with each byte.
    for byte in response.iter_content(1):
        content += byte
        if time.monotonic() > deadline:
            raise requests.Timeout("the answer takes too long")
        if len(content) == _MOST_ANSWER_BYTES:
            break
    return bytes(content)


def _message(response: requests.Response, content: bytes) -> str:
    """What the receiver says of its failure, in one line: a google.rpc.Status, or text."""
    if _is_protobuf(response):
        try:
            return Status.FromString(content).message
        except DecodeError:
            pass
    return " ".join(content[:200].decode(errors="replace").split()) or response.reason


def _retry_after_s(response: requests.Response) -> float | None:
    """The Retry-After header (RFC 9110, section 10.2.3): seconds, or a date."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _root_cause(error: BaseException) -> str:
    """The operating system's or TLS's own words, which `requests` wraps several times over."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return str(error) or type(error).__name__
