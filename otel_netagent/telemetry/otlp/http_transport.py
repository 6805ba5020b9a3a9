"""OTLP over HTTP, with protobuf bodies."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from otel_netagent import __version__
from otel_netagent.telemetry.otlp.environment import Destination, Tls
from otel_netagent.telemetry.otlp.response import ExportRequest, accepted, response_type
from otel_netagent.telemetry.outcome import Accepted, Outcome, Refused, Retryable

_PROTOBUF = "application/x-protobuf"

_RETRYABLE = frozenset({429, 502, 503, 504})
"""OTLP specification, "Retryable Response Codes"."""


class HttpTransport:
    """Posts requests of one signal on a connection that is kept open."""

    def __init__(self, destination: Destination) -> None:
        """Send to this destination."""
        self._destination = destination
        self._session = requests.Session()
        self._session.headers.update(destination.headers)
        self._session.headers.update({"User-Agent": f"otel-netagent/{__version__}", "Content-Type": _PROTOBUF})
        if destination.gzip:
            self._session.headers["Content-Encoding"] = "gzip"
        tls = destination.tls or Tls()
        self._verify = tls.ca or True
        self._cert = (tls.client_certificate, tls.client_key) if tls.client_certificate and tls.client_key else None

    @property
    def target(self) -> str:
        """The receiver, as a log line names it."""
        return self._destination.address

    def send(self, request: ExportRequest) -> Outcome:
        """Send once."""
        body = request.SerializeToString()
        try:
            response = self._session.post(
                self._destination.address,
                data=gzip.compress(body, compresslevel=1) if self._destination.gzip else body,
                timeout=self._destination.timeout_s,
                verify=self._verify,
                cert=self._cert,
                allow_redirects=False,  # a redirected POST would become a GET
            )
        except requests.RequestException as error:
            return Retryable(_root_cause(error))
        return self._outcome(response)

    def close(self) -> None:
        """Close the idle connection; a request under way goes on until its timeout."""
        self._session.close()

    def _outcome(self, response: requests.Response) -> Outcome:
        if 200 <= response.status_code < 300:
            return self._success(response)
        reason = f"HTTP status {response.status_code}: {_message(response)}"
        if response.status_code in _RETRYABLE:
            return Retryable(reason, _retry_after_s(response))
        return Refused(reason)

    def _success(self, response: requests.Response) -> Outcome:
        if not _is_protobuf(response):  # receivers that answer with JSON or nothing at all exist
            return Accepted()
        try:
            return accepted(response_type(self._destination.signal).FromString(response.content))
        except DecodeError:
            return Refused(
                f"HTTP status {response.status_code}, but the answer is not OTLP: is this the right address?"
            )


def _is_protobuf(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").partition(";")[0].strip() == _PROTOBUF


def _message(response: requests.Response) -> str:
    """What the receiver says of its failure, in one line: a google.rpc.Status, or text."""
    if _is_protobuf(response):
        try:
            return Status.FromString(response.content).message
        except DecodeError:
            pass
    return " ".join(response.text[:200].split()) or response.reason


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
