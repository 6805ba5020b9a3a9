"""OTLP over gRPC."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from otel_netagent import __version__
from otel_netagent.outputs.otlp.environment import Compression, Destination, Signal
from otel_netagent.outputs.otlp.response import accepted, response_type
from otel_netagent.outputs.sending.outcome import Outcome, Refused, Retryable, TooLarge
from otel_netagent.outputs.sending.tls import Renewal, Tls

_RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""OTLP specification, "Failures" of OTLP/gRPC; RESOURCE_EXHAUSTED too, but only if RetryInfo comes with it."""

_SIZE_REFUSED: Final = re.compile("larger than max|exceeds maximum size", re.IGNORECASE)
"""How grpc-go, the C core ("Received message larger than max") and grpc-java report size, with RESOURCE_EXHAUSTED."""

_PROXY_SIZE_REFUSED: Final = "http2 header with status: 413"
"""How gRPC reports a proxy that answers HTTP 413 (nginx: client_max_body_size), with UNKNOWN."""

_METHODS: Final = {
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}

_OPTIONS = (
    ("grpc.primary_user_agent", f"otel-netagent/{__version__}"),
    # A channel fails every call at once while it waits to reconnect, by default for up to two minutes, during which
    # it would not notice that the receiver is back.
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Otherwise all channels of the process to one address share one connection, also a new channel.
    ("grpc.use_local_subchannel_pool", 1),
)


class GrpcTransport:
    """Calls `Export` of one signal's service on one channel, which connects when it is first needed.

    A new channel replaces it when certificates have been renewed, and when a call was not answered in time: its
    connection may lead to a receiver that has vanished, which TCP notices after a quarter of an hour, if ever.
    """

    def __init__(self, destination: Destination) -> None:
        """Send to this destination."""
        self._destination = destination
        self._renewal = Renewal(destination.tls)
        self._response = response_type(destination.signal)
        self._metadata = tuple(destination.headers.items())
        self._replacing = threading.Lock()
        self._channel = _channel(destination)
        self._must_reconnect = False
        self._closed = False

    @property
    def target(self) -> str:
        """The receiver, as log lines name it."""
        return self._destination.address

    def send(self, body: bytes) -> Outcome:
        """Send once."""
        self._must_reconnect |= self._renewal.happened()
        if self._must_reconnect:
            try:
                self._reconnect()
            except OSError as error:
                return Retryable(f"the certificates cannot be read: {error}")
        export = self._channel.unary_unary(
            _METHODS[self._destination.signal],
            request_serializer=None,  # the body is encoded already
            response_deserializer=self._response.FromString,
        )
        try:
            return accepted(export(body, timeout=self._destination.timeout_s, metadata=self._metadata))
        except grpc.RpcError as error:
            self._must_reconnect = isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            return _failure(error)
        except ValueError:  # what gRPC raises if the channel was closed before the call
            return Retryable("the connection is closed")

    def _reconnect(self) -> None:
        """Put a new channel in the old one's place, unless the transport was closed: another thread may do so now."""
        channel = _channel(self._destination)
        with self._replacing:
            if self._closed:
                channel.close()
                return
            self._channel.close()
            self._channel, self._must_reconnect = channel, False

    def close(self) -> None:
        """Close the channel for good; a call under way ends as cancelled."""
        with self._replacing:
            self._closed = True
            self._channel.close()


def _channel(destination: Destination) -> grpc.Channel:
    compressed = destination.compression is Compression.GZIP
    compression = grpc.Compression.Gzip if compressed else grpc.Compression.NoCompression
    if destination.tls is None:
        return grpc.insecure_channel(destination.address, _OPTIONS, compression)
    return grpc.secure_channel(destination.address, _credentials(destination.tls), _OPTIONS, compression)


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    """Credentials for a gRPC channel from the current content of these files."""

    def content(path: str | None) -> bytes | None:
        return None if path is None else Path(path).read_bytes()

    return grpc.ssl_channel_credentials(content(tls.ca), content(tls.client_key), content(tls.client_certificate))


def _failure(error: grpc.RpcError) -> Outcome:
    if not isinstance(error, grpc.Call):
        raise error
    reason = f"{error.code().name}: {error.details()}"
    delay_s = _retry_delay_s(error)
    if error.code() in _RETRYABLE or (error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and delay_s is not None):
        return Retryable(reason, delay_s)
    return TooLarge(reason) if _refuses_size(error) else Refused(reason)


def _refuses_size(call: grpc.Call) -> bool:
    details = call.details() or ""
    match call.code():
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return _SIZE_REFUSED.search(details) is not None
        case grpc.StatusCode.UNKNOWN:
            return _PROXY_SIZE_REFUSED in details
    return False


def _retry_delay_s(call: grpc.Call) -> float | None:
    """The delay in the error's RetryInfo (google.rpc.Status, in a trailer), if the receiver gave one."""
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return _delay_of_status(value)
    return None


def _delay_of_status(status: bytes) -> float | None:
    retry = RetryInfo()
    try:
        details = Status.FromString(status).details
        if any(detail.Unpack(retry) for detail in details):
            return retry.retry_delay.ToTimedelta().total_seconds()
    except (DecodeError, OverflowError):  # the duration may be longer than Python's timedelta can hold
        pass
    return None
