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
from otel_netagent.outputs.sending.sender import EVENT_LIMITS, Sender, SenderContext, SendingOutput

_METRIC_LIMITS: Final = Limits(capacity=12)


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


_METRICS: Final = SendingOutput("OTLP metrics", "metrics", _start_metrics)
_LOGS: Final = SendingOutput("OTLP logs", "logs", _start_logs)

OUTPUTS: Final = (_METRICS, _LOGS)
