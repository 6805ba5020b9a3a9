"""The transport for a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_netagent.outputs.otlp.environment import Destination, Protocol
from otel_netagent.outputs.otlp.grpc_transport import GrpcTransport

if TYPE_CHECKING:
    from otel_netagent.outputs.otlp.http_transport import HttpTransport


def connect(destination: Destination) -> GrpcTransport | HttpTransport:
    """A transport to this destination; connects when it first sends."""
    match destination.protocol:
        case Protocol.GRPC:
            return GrpcTransport(destination)
        case Protocol.HTTP:
            # Imported here to save the 7 MB of its libraries where OTLP is not sent over HTTP.
            from otel_netagent.outputs.otlp.http_transport import HttpTransport  # noqa: PLC0415

            return HttpTransport(destination)
