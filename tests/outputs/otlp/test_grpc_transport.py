"""OTLP over gRPC, against a real server: what arrives, and what its answers are taken for."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)

from otel_netagent import __version__
from otel_netagent.outputs.otlp import grpc_transport
from otel_netagent.outputs.otlp.connect import connect
from otel_netagent.outputs.otlp.environment import Compression, Destination, Signal
from otel_netagent.outputs.sending.outcome import Accepted, Refused, Retryable, TooLarge, Transport
from otel_netagent.outputs.sending.tls import Tls
from tests.interleaving import Meeting
from tests.outputs.otlp.http2_proxy import http2_proxy
from tests.outputs.otlp.pki import Pki
from tests.outputs.otlp.receivers import Receiver, fail, grpc_receiver, hang, respond
from tests.outputs.otlp.sending import (
    BOTH_SIGNALS,
    HEADERS,
    LOGS,
    METRICS,
    closing_server,
    dead_port,
    grpc_destination,
    reason_to_retry,
    send,
)


@pytest.mark.parametrize(("signal", "body"), BOTH_SIGNALS)
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP])
def test_request_arrives_with_its_headers(signal: Signal, body: bytes, compression: Compression) -> None:
    with grpc_receiver() as receiver:
        destination = replace(grpc_destination(receiver.port, signal), headers=HEADERS, compression=compression)
        assert send(destination, body) == Accepted()
    [received] = receiver.received
    assert received.body == body
    assert received.headers.items() >= HEADERS.items()
    assert received.headers["user-agent"].startswith(f"otel-netagent/{__version__} ")


def test_partial_success_tells_how_much_and_why() -> None:
    metrics = ExportMetricsPartialSuccess(rejected_data_points=2, error_message="out of order")
    with grpc_receiver(respond(ExportMetricsServiceResponse(partial_success=metrics))) as receiver:
        assert send(grpc_destination(receiver.port)) == Accepted(2, "out of order")
    logs = ExportLogsPartialSuccess(rejected_log_records=1, error_message="too old")
    with grpc_receiver(respond(ExportLogsServiceResponse(partial_success=logs))) as receiver:
        assert send(grpc_destination(receiver.port, Signal.LOGS), LOGS) == Accepted(1, "too old")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_status_is_taken_as_the_protocol_says(code: grpc.StatusCode) -> None:
    retryable = {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
    with grpc_receiver(fail(code)) as receiver:
        outcome = send(grpc_destination(receiver.port))
    assert outcome == (Retryable if code.name in retryable else Refused)(f"{code.name}: as the test wants it")


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_receiver_may_say_when_to_come_back(code: grpc.StatusCode) -> None:
    detail = Any()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=7, nanos=500_000_000)))
    trailer = Status(code=code.value[0], details=[detail]).SerializeToString()
    with grpc_receiver(fail(code, ("grpc-status-details-bin", trailer))) as receiver:
        assert send(grpc_destination(receiver.port)) == Retryable(f"{code.name}: as the test wants it", 7.5)


def test_rubbish_for_details_is_no_delay() -> None:
    answer = fail(grpc.StatusCode.UNAVAILABLE, ("grpc-status-details-bin", b"\xff\xff"))
    with grpc_receiver(answer) as receiver:
        assert send(grpc_destination(receiver.port)) == Retryable("UNAVAILABLE: as the test wants it")


def test_a_delay_longer_than_can_be_said_is_none() -> None:
    detail = Any()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=1 << 62)))
    code = grpc.StatusCode.UNAVAILABLE
    trailer = Status(code=code.value[0], details=[detail]).SerializeToString()
    with grpc_receiver(fail(code, ("grpc-status-details-bin", trailer))) as receiver:
        assert send(grpc_destination(receiver.port)) == Retryable(f"{code.name}: as the test wants it")


def test_what_is_not_answered_in_time_is_tried_by_another_connection() -> None:
    """Whoever was at the end of that one may be gone, as TCP would find out after a quarter of an hour."""
    peers: list[str] = []

    def hang_and_remember(context: grpc.ServicerContext, receiver: Receiver) -> None:
        peers.append(context.peer())
        if len(peers) == 2:
            hang(context, receiver)

    with (
        grpc_receiver(*(hang_and_remember,) * 4) as receiver,
        closing(connect(replace(grpc_destination(receiver.port), timeout_s=1.0))) as transport,
    ):
        outcomes = [transport.send(METRICS) for _ in range(4)]
    assert [isinstance(outcome, Retryable) for outcome in outcomes] == [False, True, False, False]
    assert peers[0] == peers[1] != peers[2] == peers[3]


def test_dead_port_and_hanging_receiver_are_tried_again_later() -> None:
    with dead_port() as port:
        assert "UNAVAILABLE" in reason_to_retry(send(grpc_destination(port)))
    with grpc_receiver(hang) as receiver:
        outcome = send(replace(grpc_destination(receiver.port), timeout_s=0.1))
    assert "DEADLINE_EXCEEDED" in reason_to_retry(outcome)


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP])
def test_receiver_that_takes_less_at_once_says_so(compression: Compression) -> None:
    with grpc_receiver(most_bytes=len(METRICS) - 1) as receiver:
        outcome = send(replace(grpc_destination(receiver.port), compression=compression))
    assert isinstance(outcome, TooLarge)
    assert "RESOURCE_EXHAUSTED" in outcome.reason


def test_proxy_that_rejects_the_size_by_http_is_understood() -> None:
    """A proxy such as nginx (grpc_pass, client_max_body_size) answers HTTP 413, of which gRPC makes UNKNOWN."""
    with http2_proxy(413) as port:
        outcome = send(grpc_destination(port))
    assert isinstance(outcome, TooLarge)
    assert "413" in outcome.reason
    with http2_proxy(403) as port:
        assert isinstance(send(grpc_destination(port)), Refused)


def test_exhausted_without_a_word_on_size_is_refusal() -> None:
    with grpc_receiver(fail(grpc.StatusCode.RESOURCE_EXHAUSTED)) as receiver:
        assert isinstance(send(grpc_destination(receiver.port)), Refused)


def test_connection_that_is_closed_amid_the_answer_is_tried_again_later() -> None:
    with closing_server() as port:
        assert "UNAVAILABLE" in reason_to_retry(send(grpc_destination(port)))


def test_closed_transport_says_so() -> None:
    with grpc_receiver() as receiver:
        transport = connect(grpc_destination(receiver.port))
        transport.close()
        assert transport.send(METRICS) == Retryable("the connection is closed")


def outworn(port: int) -> Transport:
    """A transport whose last call was not answered in time: the next one is to be made by a new channel."""
    transport = connect(replace(grpc_destination(port), timeout_s=0.5))
    assert "DEADLINE_EXCEEDED" in reason_to_retry(transport.send(METRICS))
    return transport


def test_closed_transport_opens_no_other_channel() -> None:
    with grpc_receiver(hang) as receiver:
        transport = outworn(receiver.port)
        transport.close()
        assert transport.send(METRICS) == Retryable("the connection is closed")


@pytest.mark.parametrize("step", ["before the old one is closed", "while the old one is closed"])
def test_transport_that_is_closed_meanwhile_opens_no_other_channel(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's end, or a reload, waits for no call."""
    meeting, opened = Meeting(), list[grpc.Channel]()
    make = grpc_transport._channel

    def held(destination: Destination) -> grpc.Channel:
        channel = make(destination)
        opened.append(channel)
        if len(opened) == 2 and step.startswith("before"):
            meeting.hold()
        if len(opened) == 1 and step.startswith("while"):
            actions = (meeting.hold, channel.close)
            monkeypatch.setattr(channel, "close", lambda: [action() for action in actions])
        return channel

    monkeypatch.setattr(grpc_transport, "_channel", held)
    with grpc_receiver(hang) as receiver:
        with meeting.watching_locks():
            transport = outworn(receiver.port)
        meeting.of(lambda: transport.send(METRICS), transport.close)
        assert len(opened) == 2
        for channel in opened:
            with pytest.raises(ValueError, match="closed"):
                channel.unary_unary("/any", None, None)(b"")


def test_both_sides_prove_who_they_are(pki: Pki) -> None:
    pair = (pki.server.private_key_pem.bytes(), pki.server.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_server_credentials([pair], pki.authority.cert_pem.bytes(), require_client_auth=True)
    with grpc_receiver(credentials=credentials) as receiver:
        secure = replace(grpc_destination(receiver.port), tls=pki.client)
        assert send(secure) == Accepted()
        assert "UNAVAILABLE" in reason_to_retry(send(replace(secure, tls=Tls())))
        assert "UNAVAILABLE" in reason_to_retry(send(replace(secure, tls=Tls(pki.ca))))
    assert len(receiver.received) == 1
