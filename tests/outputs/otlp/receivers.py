"""OTLP receivers over real sockets, which answer as a test tells them and remember what they were sent."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc
import zstandard
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from otel_netagent.outputs.otlp.response import ExportResponse
from tests.http_serving import Handler, Server, listening

ExportRequest: TypeAlias = ExportMetricsServiceRequest | ExportLogsServiceRequest


@dataclass(frozen=True)
class Received:
    """One request as it came in; `asked` is its path, or its signal, `body` what was left when it was unpacked."""

    asked: str
    headers: Mapping[str, str]
    body: bytes
    request: ExportRequest


@dataclass
class Receiver:
    """What came in, in order, and where it can be sent to. `hold` is set to let hanging answers go on."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)


GrpcAnswer: TypeAlias = Callable[[grpc.ServicerContext, Receiver], ExportResponse | None]


def fail(code: grpc.StatusCode, *trailers: tuple[str, bytes]) -> GrpcAnswer:
    """An answer that ends the call with this status."""

    def answer(context: grpc.ServicerContext, _: Receiver) -> None:
        context.set_trailing_metadata(trailers)
        context.abort(code, "as the test wants it")

    return answer


def hang(_: object, receiver: Receiver) -> None:
    """An answer that does not come until the test is over."""
    receiver.hold.wait()


def respond(response: ExportResponse) -> GrpcAnswer:
    """A successful answer that says this."""
    return lambda *_: response


@contextmanager
def grpc_receiver(
    *answers: GrpcAnswer, port: int = 0, credentials: grpc.ServerCredentials | None = None, most_bytes: int = 4 << 20
) -> Iterator[Receiver]:
    """A server of both services, which gives these answers in turn and then accepts everything up to a size."""
    receiver = Receiver()
    left = deque(answers)

    def service(
        signal: str, request: type[ExportRequest], response: type[ExportResponse]
    ) -> grpc.GenericRpcHandler[bytes, bytes]:
        def export(body: bytes, context: grpc.ServicerContext) -> bytes:
            headers = {key: str(value) for key, value in context.invocation_metadata()}
            receiver.received.append(Received(signal, headers, body, request.FromString(body)))
            answer = left.popleft()(context, receiver) if left else None
            return (answer or response()).SerializeToString()

        name = f"opentelemetry.proto.collector.{signal}.v1.{signal.capitalize()}Service"
        return grpc.method_handlers_generic_handler(name, {"Export": grpc.unary_unary_rpc_method_handler(export)})

    options = (("grpc.max_receive_message_length", most_bytes), ("grpc.so_reuseport", 0))
    server = grpc.server(ThreadPoolExecutor(4), options=options)
    metrics = service("metrics", ExportMetricsServiceRequest, ExportMetricsServiceResponse)
    logs = service("logs", ExportLogsServiceRequest, ExportLogsServiceResponse)
    server.add_generic_rpc_handlers((metrics, logs))
    address = f"127.0.0.1:{port}"
    if credentials is None:
        receiver.port = server.add_insecure_port(address)
    else:
        receiver.port = server.add_secure_port(address, credentials)
    server.start()
    try:
        yield receiver
    finally:
        receiver.hold.set()
        server.stop(None).wait()


@dataclass(frozen=True)
class HttpAnswer:
    """One HTTP response.

    `hangs` makes it wait for the end of the test, `drips` send a byte of the body now and then until then, and `cut`
    close the connection amid the body.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/x-protobuf"})
    hangs: bool = False
    drips: bool = False
    cut: bool = False


TOO_LARGE = HttpAnswer(413, b"<html>\r\n<h1>413 Request Entity Too Large</h1>\r\n", {"Content-Type": "text/html"})
"""As nginx says it."""

_UNPACK: Mapping[str | None, Callable[[bytes], bytes]] = {
    None: bytes,
    "gzip": gzip.decompress,
    "zstd": zstandard.decompress,
}


class _Handler(Handler):
    server: _HttpServer

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        body = _UNPACK[self.headers.get("Content-Encoding")](body)
        if len(body) > self.server.most_bytes:
            self.give(TOO_LARGE)
            return
        request_type = ExportLogsServiceRequest if "logs" in self.path else ExportMetricsServiceRequest
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.server.receiver.received.append(Received(self.path, headers, body, request_type.FromString(body)))
        self.give(self.server.left.popleft() if self.server.left else HttpAnswer())

    def give(self, answer: HttpAnswer) -> None:
        if answer.hangs:
            self.server.receiver.hold.wait()
            self.close_connection = True
            return
        promised = len(answer.body) + 1_000_000 * (answer.cut or answer.drips)
        self.answer(answer.status, answer.body, {**answer.headers, "Content-Length": str(promised)})
        while answer.drips and not self.server.receiver.hold.wait(0.02):
            self.wfile.write(b"x")
        self.close_connection = self.close_connection or answer.cut or answer.drips


class _HttpServer(Server):
    def __init__(self, port: int, answers: tuple[HttpAnswer, ...], most_bytes: int, tls: ssl.SSLContext | None) -> None:
        self.receiver = Receiver()
        self.left = deque(answers)
        self.most_bytes = most_bytes
        self.connections: list[socket.socket] = []
        super().__init__(_Handler, port)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.receiver.port = self.server_port

    def handle_error(self, *_: object) -> None:
        """Nothing: that the client goes away, or does not like the certificate, is what tests are about."""

    def hang_up(self) -> None:
        """End the connections that were kept, as a server does that ends."""
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def http_receiver(
    *answers: HttpAnswer, port: int = 0, tls: ssl.SSLContext | None = None, most_bytes: int = 4 << 20
) -> Iterator[Receiver]:
    """A server of both paths, which gives these answers in turn and then accepts everything up to a size."""
    server = _HttpServer(port, answers, most_bytes, tls)
    try:
        with listening(server):
            try:
                yield server.receiver
            finally:
                server.receiver.hold.set()
    finally:
        server.hang_up()
