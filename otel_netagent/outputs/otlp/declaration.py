"""OTLP as outputs: metrics, and events as log records, each where the environment says."""

from __future__ import annotations

import time
from typing import Final

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.outputs.otlp.connect import connect
from otel_netagent.outputs.otlp.environment import Signal, destination
from otel_netagent.outputs.otlp.logs import LogsEncoder, Observed
from otel_netagent.outputs.otlp.metrics import MetricsEncoder
from otel_netagent.outputs.sending import Limits
from otel_netagent.outputs.sending.sender import EVENT_LIMITS, Sender, SenderContext, SendingOutput, dropped_by

_METRIC_LIMITS: Final = Limits(capacity=12)

_VARIABLES: Final = (
    "OTEL_SDK_DISABLED",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
)
"""Each of OTEL_EXPORTER_OTLP also for one signal: OTEL_EXPORTER_OTLP_LOGS_ENDPOINT."""


def _start_metrics(context: SenderContext) -> Sender | None:
    """Raises OtlpConfigError."""
    if (to := destination(Signal.METRICS, context.environ)) is None:
        return None
    encoder = MetricsEncoder(context.resource, context.node, request_bytes=context.request_bytes)
    delivery = context.delivery(_METRICS.name, encoder, connect(to), _METRIC_LIMITS)
    return Sender(delivery, snapshot=delivery.put)


def _start_logs(context: SenderContext) -> Sender | None:
    """Raises OtlpConfigError."""
    if (to := destination(Signal.LOGS, context.environ)) is None:
        return None
    encoder = LogsEncoder(context.resource, context.node)
    delivery = context.delivery(_LOGS.name, encoder, connect(to), EVENT_LIMITS)

    def put(event: AttributedEvent) -> None:
        delivery.put(Observed(event, time.time_ns()))

    return Sender(delivery, event=put)


_METRICS: Final = SendingOutput(
    "OTLP metrics",
    "every collection, to a receiver of OTLP",
    settings=(),
    variables=("OTEL_METRICS_EXPORTER", *_VARIABLES),
    losses=dropped_by("OTLP metrics"),
    spool="metrics",
    start=_start_metrics,
)
_LOGS: Final = SendingOutput(
    "OTLP logs",
    "events as log records, to a receiver of OTLP",
    settings=(),
    variables=("OTEL_LOGS_EXPORTER", *_VARIABLES),
    losses=dropped_by("OTLP logs"),
    spool="logs",
    start=_start_logs,
)

OUTPUTS: Final = (_METRICS, _LOGS)
