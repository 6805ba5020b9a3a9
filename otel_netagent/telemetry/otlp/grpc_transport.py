"""OTLP over gRPC."""

from __future__ import annotations

from pathlib import Path

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub

from otel_netagent import __version__
from otel_netagent.telemetry.otlp.environment import Destination, Signal, Tls
from otel_netagent.telemetry.otlp.response import ExportRequest, accepted
from otel_netagent.telemetry.outcome import Outcome, Refused, Retryable

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

_OPTIONS = (
    ("grpc.primary_user_agent", f"otel-netagent/{__version__}"),
    # A channel fails every call at once while it waits to connect again: by default for up to two
    # minutes, in which a receiver that is back would not be noticed.
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class GrpcTransport:
    """Calls `Export` of one signal's service on one channel, which connects when it is first needed."""

    def __init__(self, destination: Destination) -> None:
        """Send to this destination."""
        self._destination = destination
        compression = grpc.Compression.Gzip if destination.gzip else grpc.Compression.NoCompression
        if destination.tls is None:
            self._channel = grpc.insecure_channel(destination.address, _OPTIONS, compression)
        else:
            credentials = _credentials(destination.tls)
            self._channel = grpc.secure_channel(destination.address, credentials, _OPTIONS, compression)
        stub = MetricsServiceStub if destination.signal is Signal.METRICS else LogsServiceStub
        self._export = stub(self._channel).Export

    @property
    def target(self) -> str:
        """The receiver, as a log line names it."""
        return self._destination.address

    def send(self, request: ExportRequest) -> Outcome:
        """Send once."""
        metadata = tuple(self._destination.headers.items())
        try:
            return accepted(self._export(request, timeout=self._destination.timeout_s, metadata=metadata))
        except grpc.RpcError as error:
            return _failure(error)
        except ValueError:  # how gRPC says that the channel was closed before the call
            return Retryable("the connection is closed")

    def close(self) -> None:
        """Close the channel; a call under way ends as cancelled."""
        self._channel.close()


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
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
    return Refused(reason)


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
    except DecodeError:
        pass
    return None
