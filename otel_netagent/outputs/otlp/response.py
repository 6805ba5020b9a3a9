"""The meaning of a receiver's answer, for every transport (OTLP specification, "Partial Success")."""

from __future__ import annotations

from typing import TypeAlias

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from otel_netagent.outputs.otlp.environment import Signal
from otel_netagent.outputs.sending.outcome import Accepted

ExportResponse: TypeAlias = ExportMetricsServiceResponse | ExportLogsServiceResponse


def response_type(signal: Signal) -> type[ExportResponse]:
    """The message that answers a request of this signal."""
    match signal:
        case Signal.METRICS:
            return ExportMetricsServiceResponse
        case Signal.LOGS:
            return ExportLogsServiceResponse


def accepted(response: ExportResponse) -> Accepted:
    """The outcome of a request that the receiver answered with success."""
    partial = response.partial_success
    if isinstance(response, ExportMetricsServiceResponse):
        return Accepted(response.partial_success.rejected_data_points, partial.error_message)
    return Accepted(response.partial_success.rejected_log_records, partial.error_message)
