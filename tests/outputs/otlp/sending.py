"""Requests and destinations to test transports with, and what comes of a send."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from opentelemetry.sdk.resources import Resource

from otel_netagent.outputs.otlp.connect import connect
from otel_netagent.outputs.otlp.environment import Destination, Protocol, Signal
from otel_netagent.outputs.otlp.logs import LogsEncoder, Observed
from otel_netagent.outputs.otlp.metrics import MetricsEncoder
from otel_netagent.outputs.sending.outcome import Outcome, Retryable
from tests.outputs.samples import NODE, TIME_NS, make_event, make_snapshot

METRICS = MetricsEncoder(Resource({}), NODE).encode([make_snapshot()])[0].body
LOGS = LogsEncoder(Resource({}), NODE).encode([Observed(make_event(), TIME_NS)])[0].body
BOTH_SIGNALS = [(Signal.METRICS, METRICS), (Signal.LOGS, LOGS)]
HEADERS = {"authorization": "Bearer x", "x-scope-orgid": "net"}


def grpc_destination(port: int, signal: Signal = Signal.METRICS) -> Destination:
    return Destination(signal, Protocol.GRPC, f"127.0.0.1:{port}", tls=None, timeout_s=10.0)


def http_destination(port: int, signal: Signal = Signal.METRICS) -> Destination:
    url = f"http://127.0.0.1:{port}/v1/{signal.value}"
    return Destination(signal, Protocol.HTTP, url, tls=None, timeout_s=10.0)


def send(destination: Destination, body: bytes = METRICS) -> Outcome:
    transport = connect(destination)
    try:
        return transport.send(body)
    finally:
        transport.close()


@contextmanager
def dead_port() -> Iterator[int]:
    """A port that refuses connections for as long as this lasts: bound, but not listened on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def closing_server() -> Iterator[int]:
    """The port of a server that hangs up on whoever begins to talk to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        client.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def reason_to_retry(outcome: Outcome) -> str:
    assert isinstance(outcome, Retryable)
    return outcome.reason


def delay_of(outcome: Outcome) -> float | None:
    assert isinstance(outcome, Retryable)
    return outcome.delay_s
