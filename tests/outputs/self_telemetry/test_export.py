"""The same by OTLP: at real receivers, and while they are away."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.sdk.metrics.export import MetricsData

from lab.waiting import eventually
from otel_netagent.outputs.otlp.environment import Compression, Destination, Protocol
from otel_netagent.outputs.self_telemetry.export import SelfExport
from otel_netagent.outputs.self_telemetry.instruments import INSTRUMENTS
from tests.outputs.otlp.pki import Pki, make_pki
from tests.outputs.otlp.receivers import HttpAnswer, Receiver, fail, grpc_receiver, hang, http_receiver
from tests.outputs.otlp.sending import HEADERS, dead_port, grpc_destination, http_destination
from tests.outputs.samples import NODE
from tests.outputs.self_telemetry.samples import make_telemetry
from tests.outputs.sending.deliveries import lines

ARRIVAL_S = 20.0


@contextmanager
def exporting(destination: Destination, data: Callable[[], MetricsData | None] | None = None) -> Iterator[SelfExport]:
    export = SelfExport(destination, data or make_telemetry().data, every_s=0.1)
    try:
        yield export
    finally:
        export.close()


def metrics(receiver: Receiver) -> dict[str, Metric]:
    """Of the first request."""
    request = eventually(lambda: receiver.received[:1], ARRIVAL_S)[0].request
    assert isinstance(request, ExportMetricsServiceRequest)
    (resource,) = request.resource_metrics
    assert [(each.key, each.value.string_value) for each in resource.resource.attributes] == [
        ("service.name", "otel-netagent")
    ]
    (scope,) = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=Protocol)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    protocol: Protocol = request.param
    return protocol


def test_every_instrument_arrives_with_its_unit(protocol: Protocol) -> None:
    with grpc_receiver() as by_grpc, http_receiver() as by_http:
        receiver, to = {
            Protocol.GRPC: (by_grpc, grpc_destination(by_grpc.port)),
            Protocol.HTTP: (by_http, http_destination(by_http.port)),
        }[protocol]
        with exporting(replace(to, headers=HEADERS, compression=Compression.GZIP)):
            found = metrics(receiver)
        assert receiver.received[0].headers.items() >= HEADERS.items()
    assert {(each.name, each.unit) for each in found.values()} == {(each.name, each.unit) for each in INSTRUMENTS}
    (point,) = found["netagent.delivery.delivered"].sum.data_points
    assert point.as_int == 100
    assert {each.key: each.value.string_value for each in point.attributes} == {"node": NODE, "delivery": "OTLP logs"}
    assert found["netagent.delivery.delivered"].sum.is_monotonic
    assert not found["netagent.delivery.queued"].sum.is_monotonic
    assert found["netagent.collection.duration"].histogram.data_points[0].sum == 0.03


def test_connection_is_as_secure_as_that_of_the_metrics(protocol: Protocol, pki: Pki) -> None:
    with (
        grpc_receiver(credentials=_server_credentials(pki)) as by_grpc,
        http_receiver(tls=_server_context(pki)) as by_http,
    ):
        receiver, to = {
            Protocol.GRPC: (by_grpc, replace(grpc_destination(by_grpc.port), address=f"localhost:{by_grpc.port}")),
            Protocol.HTTP: (
                by_http,
                replace(http_destination(by_http.port), address=f"https://localhost:{by_http.port}/v1/metrics"),
            ),
        }[protocol]
        with exporting(replace(to, tls=pki.client)):
            assert metrics(receiver)


def test_outage_is_told_once_and_its_end_too(protocol: Protocol, caplog: pytest.LogCaptureFixture) -> None:
    """Not at each try, and by no traceback."""
    with dead_port() as port:
        to = grpc_destination(port) if protocol is Protocol.GRPC else http_destination(port)
        tries: list[float] = []
        data = make_telemetry().data

        def counted() -> MetricsData | None:
            tries.append(time.monotonic())
            return data()

        with exporting(replace(to, timeout_s=0.2), counted):
            told = eventually(lambda: lines(caplog), ARRIVAL_S)
            eventually(lambda: len(tries) > 3, ARRIVAL_S)
    (line,) = told
    assert line.startswith(f"self-telemetry: cannot export to {to.address}: ")
    assert not [record for record in caplog.records if record.exc_info]
    assert [record.name for record in caplog.records] == ["otel_netagent.outputs.self_telemetry.export"]


def test_recovery_is_told(caplog: pytest.LogCaptureFixture) -> None:
    refuse = fail(grpc.StatusCode.INVALID_ARGUMENT)
    with grpc_receiver(refuse) as receiver, exporting(grpc_destination(receiver.port)):
        eventually(lambda: len(lines(caplog)) == 2, ARRIVAL_S)
    address = f"127.0.0.1:{receiver.port}"
    assert lines(caplog) == [
        f"self-telemetry: cannot export to {address}: INVALID_ARGUMENT: as the test wants it",
        f"self-telemetry: {address} accepts it again",
    ]


def test_end_waits_for_no_receiver(protocol: Protocol, caplog: pytest.LogCaptureFixture) -> None:
    with grpc_receiver(hang) as by_grpc, http_receiver(HttpAnswer(hangs=True)) as by_http:
        receiver, to = {
            Protocol.GRPC: (by_grpc, grpc_destination(by_grpc.port)),
            Protocol.HTTP: (by_http, http_destination(by_http.port)),
        }[protocol]
        with exporting(to):
            eventually(lambda: receiver.received, ARRIVAL_S)
            began = time.monotonic()
        assert time.monotonic() - began < 2.0  # of ten that the request may take
    assert not lines(caplog)


def _server_credentials(pki: Pki) -> grpc.ServerCredentials:
    pair = (pki.server.private_key_pem.bytes(), pki.server.cert_chain_pems[0].bytes())
    return grpc.ssl_server_credentials([pair], pki.authority.cert_pem.bytes(), require_client_auth=True)


def _server_context(pki: Pki) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pki.server.configure_cert(context)
    pki.authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
