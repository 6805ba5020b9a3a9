"""OTLP over HTTP, against a real server: what arrives, and what its answers are taken for."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)

from otel_netagent import __version__
from otel_netagent.outputs.otlp.environment import Compression, Signal
from otel_netagent.outputs.sending.outcome import Accepted, Refused, Retryable, TooLarge
from otel_netagent.outputs.sending.tls import Tls
from tests.outputs.otlp.pki import Pki
from tests.outputs.otlp.receivers import HttpAnswer, http_receiver
from tests.outputs.otlp.sending import (
    BOTH_SIGNALS,
    HEADERS,
    closing_server,
    dead_port,
    delay_of,
    http_destination,
    reason_to_retry,
    send,
)


@pytest.mark.parametrize(("signal", "body"), BOTH_SIGNALS)
@pytest.mark.parametrize("compression", Compression)
def test_request_arrives_with_its_headers(signal: Signal, body: bytes, compression: Compression) -> None:
    with http_receiver() as receiver:
        destination = replace(http_destination(receiver.port, signal), headers=HEADERS, compression=compression)
        assert send(destination, body) == Accepted()
    [received] = receiver.received
    assert received.asked == f"/v1/{signal.value}"
    assert received.body == body
    assert received.headers.items() >= HEADERS.items()
    assert received.headers["content-type"] == "application/x-protobuf"
    assert received.headers["user-agent"] == f"otel-netagent/{__version__}"
    assert received.headers.get("content-encoding") == (None if compression is Compression.NONE else compression.value)


def test_partial_success_tells_how_much_and_why() -> None:
    metrics = ExportMetricsPartialSuccess(rejected_data_points=2, error_message="out of order")
    body = ExportMetricsServiceResponse(partial_success=metrics).SerializeToString()
    with http_receiver(HttpAnswer(body=body)) as receiver:
        assert send(http_destination(receiver.port)) == Accepted(2, "out of order")


@pytest.mark.parametrize("status", [200, 202, 204])
def test_success_without_a_protobuf_body_is_success(status: int) -> None:
    with http_receiver(HttpAnswer(status, headers={})) as receiver:
        assert send(http_destination(receiver.port)) == Accepted()


def test_success_that_is_no_otlp_is_refusal() -> None:
    with http_receiver(HttpAnswer(body=b"<html>")) as receiver:
        assert isinstance(send(http_destination(receiver.port)), Refused)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 501, 502, 503, 504])
def test_status_is_taken_as_the_protocol_says(status: int) -> None:
    answer = HttpAnswer(status, b"no such\n tenant", {"Content-Type": "text/plain"})
    with http_receiver(answer) as receiver:
        outcome = send(http_destination(receiver.port))
    kind = Retryable if status in {429, 502, 503, 504} else TooLarge if status == 413 else Refused
    assert outcome == kind(f"HTTP status {status}: no such tenant")


def test_collectors_way_to_say_too_large_is_understood() -> None:
    with http_receiver(HttpAnswer(400, Status(message="http: request body too large").SerializeToString())) as receiver:
        assert isinstance(send(http_destination(receiver.port)), TooLarge)


def test_connection_that_is_closed_amid_the_answer_is_tried_again_later() -> None:
    with http_receiver(HttpAnswer(body=b"half", cut=True)) as receiver:
        assert reason_to_retry(send(http_destination(receiver.port)))
    with closing_server() as port:
        assert reason_to_retry(send(http_destination(port)))


def test_answer_that_never_ends_is_given_up() -> None:
    with http_receiver(HttpAnswer(503, drips=True)) as receiver:
        outcome = send(replace(http_destination(receiver.port), timeout_s=0.3))
        assert reason_to_retry(outcome) == "the answer takes too long"


def test_of_a_long_answer_the_beginning_is_read() -> None:
    with http_receiver(HttpAnswer(400, b"no " * 1_000_000, {"Content-Type": "text/html"})) as receiver:
        outcome = send(http_destination(receiver.port))
        assert isinstance(outcome, Refused)
        assert outcome.reason.startswith("HTTP status 400: no no no")


def test_failures_message_is_read_from_its_protobuf_body() -> None:
    with http_receiver(HttpAnswer(400, Status(message="bad point").SerializeToString())) as receiver:
        assert send(http_destination(receiver.port)) == Refused("HTTP status 400: bad point")
    with http_receiver(HttpAnswer(400, b"\xff\xff")) as receiver:
        assert isinstance(send(http_destination(receiver.port)), Refused)


def test_redirect_is_not_followed() -> None:
    with http_receiver(HttpAnswer(307, headers={"Location": "/v1/logs"})) as receiver:
        outcome = send(http_destination(receiver.port))
    assert isinstance(outcome, Refused)
    assert len(receiver.received) == 1


def test_receiver_may_say_when_to_come_back() -> None:
    with http_receiver(HttpAnswer(429, headers={"Retry-After": "7"})) as receiver:
        assert delay_of(send(http_destination(receiver.port))) == 7.0
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    with http_receiver(HttpAnswer(503, headers={"Retry-After": date})) as receiver:
        assert 90.0 < (delay_of(send(http_destination(receiver.port))) or 0) <= 100.0


@pytest.mark.parametrize("value", ["soon", "-1", "", "Mon, 99 Foo 2026", "Fri, 31 Dec 9999 23:59:59 -0100"])
def test_rubbish_for_a_date_is_no_delay(value: str) -> None:
    with http_receiver(HttpAnswer(503, headers={"Retry-After": value})) as receiver:
        assert delay_of(send(http_destination(receiver.port))) is None


def test_dead_port_and_hanging_receiver_are_tried_again_later() -> None:
    with dead_port() as port:
        assert reason_to_retry(send(http_destination(port))) == "[Errno 111] Connection refused"
    with http_receiver(HttpAnswer(hangs=True)) as receiver:
        outcome = send(replace(http_destination(receiver.port), timeout_s=0.1))
    assert "timed out" in reason_to_retry(outcome)


def test_both_sides_prove_who_they_are(pki: Pki) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pki.server.configure_cert(context)
    pki.authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with http_receiver(tls=context) as receiver:
        url = f"https://127.0.0.1:{receiver.port}/v1/metrics"
        secure = replace(http_destination(receiver.port), address=url, tls=pki.client)
        assert send(secure) == Accepted()
        assert "CERTIFICATE_VERIFY_FAILED" in reason_to_retry(send(replace(secure, tls=Tls())))
        assert reason_to_retry(send(replace(secure, tls=Tls(pki.ca))))
    assert len(receiver.received) == 1
