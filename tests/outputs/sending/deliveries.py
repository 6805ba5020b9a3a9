"""Deliveries of events and snapshots to test with, and what came of them at a receiver."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.outputs.otlp.connect import connect
from otel_netagent.outputs.otlp.environment import Destination, Signal
from otel_netagent.outputs.otlp.logs import LogsEncoder, Observed
from otel_netagent.outputs.otlp.metrics import MetricsEncoder
from otel_netagent.outputs.sending import Backoff, Cause, Delivery, Limits, SpoolPlace
from tests.outputs.otlp.receivers import Receiver
from tests.outputs.samples import NODE, TIME_NS, make_event

QUICK = Backoff(first_s=0.01, most_s=0.05)

IMPATIENT = Backoff(first_s=0.0001, most_s=0.001)

POINTS = 2  # of make_snapshot()

NOTHING = dict.fromkeys(Cause, 0)


def log_delivery(destination: Destination, limits: Limits, spool: Path | None = None) -> Delivery[Observed]:
    transport = connect(replace(destination, signal=Signal.LOGS))
    place = SpoolPlace(spool, 1 << 20) if spool else None
    return Delivery("OTLP logs", LogsEncoder(Resource({}), NODE), transport, limits, backoff=QUICK, spool=place)


def metric_delivery(destination: Destination, limits: Limits | None = None) -> Delivery[Snapshot]:
    encoder = MetricsEncoder(Resource({}), NODE)
    return Delivery("OTLP metrics", encoder, connect(destination), limits or Limits(capacity=12), backoff=QUICK)


def observed(number: int) -> Observed:
    return Observed(make_event(time_ns=TIME_NS + number), TIME_NS)


def numbers_received(receiver: Receiver) -> list[list[int]]:
    """Which events each request brought, by the numbers that `observed` gave them."""
    requests = [received.request for received in receiver.received]
    assert all(isinstance(request, ExportLogsServiceRequest) for request in requests)
    return [
        [
            record.time_unix_nano - TIME_NS
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]
        for request in requests
        if isinstance(request, ExportLogsServiceRequest)
    ]


def times(receiver: Receiver) -> list[int]:
    """The time of each snapshot that came in."""
    return [
        received.request.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0].time_unix_nano
        for received in receiver.received
        if isinstance(received.request, ExportMetricsServiceRequest)
    ]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("otel_netagent")]
