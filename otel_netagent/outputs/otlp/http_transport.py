"""OTLP over HTTP, with protobuf bodies."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import zstandard
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from otel_netagent.outputs.content_coding import gzipped
from otel_netagent.outputs.otlp.environment import Compression, Destination
from otel_netagent.outputs.otlp.response import accepted, response_type
from otel_netagent.outputs.sending.http_post import Answer, Post, PostFailed
from otel_netagent.outputs.sending.outcome import Accepted, Outcome, Refused, Retryable, TooLarge

_PROTOBUF = "application/x-protobuf"

_RETRYABLE = frozenset({429, 502, 503, 504})
"""OTLP specification, "Retryable Response Codes"."""

_SIZE_REFUSED: Final = "request body too large"
"""The error of Go's http.MaxBytesReader, which the collector answers with status 400."""


class HttpTransport:
    """Posts requests of one signal."""

    def __init__(self, destination: Destination) -> None:
        """Send to this destination."""
        self._destination = destination
        self._post = Post(destination.address, _headers(destination), destination.tls, destination.timeout_s)

    @property
    def target(self) -> str:
        """The receiver, as log lines name it."""
        return self._destination.address

    def send(self, body: bytes) -> Outcome:
        """Send once."""
        try:
            return self._outcome(self._post.send(_compressed(body, self._destination.compression)))
        except PostFailed as error:
            return Retryable(str(error))

    def close(self) -> None:
        """Close the idle connection; a request in progress continues until its timeout."""
        self._post.close()

    def _outcome(self, answer: Answer) -> Outcome:
        if 200 <= answer.status < 300:
            return self._success(answer)
        reason = f"HTTP status {answer.status}: {_message(answer)}"
        if answer.status in _RETRYABLE:
            return Retryable(reason, answer.retry_after_s)
        if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or _SIZE_REFUSED in reason:
            return TooLarge(reason)
        return Refused(reason)

    def _success(self, answer: Answer) -> Outcome:
        if answer.content_type != _PROTOBUF:  # some receivers answer with JSON, or with nothing
            return Accepted()
        try:
            return accepted(response_type(self._destination.signal).FromString(answer.content))
        except DecodeError:
            return Refused(f"HTTP status {answer.status}, but the answer is not OTLP: is this the right address?")


def _headers(destination: Destination) -> dict[str, str]:
    headers = {**destination.headers, "Content-Type": _PROTOBUF}
    if destination.compression is not Compression.NONE:
        headers["Content-Encoding"] = destination.compression.value
    return headers


def _compressed(body: bytes, compression: Compression) -> bytes:
    match compression:
        case Compression.NONE:
            return body
        case Compression.GZIP:
            return gzipped((body,))
        case Compression.ZSTD:
            return zstandard.compress(body)


def _message(answer: Answer) -> str:
    """The receiver's error message in one line: from a google.rpc.Status, or text."""
    if answer.content_type == _PROTOBUF:
        try:
            return Status.FromString(answer.content).message
        except DecodeError:
            pass
    return answer.complaint
