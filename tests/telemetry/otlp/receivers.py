"""OTLP receivers over real sockets, which answer as a test tells them and remember what they were sent."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from otel_netagent.telemetry.otlp.response import ExportRequest, ExportResponse


@dataclass(frozen=True)
class Received:
    """One request as it came in; `asked` is its path, or its signal."""

    asked: str
    headers: Mapping[str, str]
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
    *answers: GrpcAnswer, port: int = 0, credentials: grpc.ServerCredentials | None = None
) -> Iterator[Receiver]:
    """A server of both services, which gives these answers in turn and then accepts everything."""
    receiver = Receiver()
    left = deque(answers)

    def service(
        signal: str, request: type[ExportRequest], response: type[ExportResponse]
    ) -> grpc.GenericRpcHandler[bytes, bytes]:
        def export(body: bytes, context: grpc.ServicerContext) -> bytes:
            headers = {key: str(value) for key, value in context.invocation_metadata()}
            receiver.received.append(Received(signal, headers, request.FromString(body)))
            answer = left.popleft()(context, receiver) if left else None
            return (answer or response()).SerializeToString()

        name = f"opentelemetry.proto.collector.{signal}.v1.{signal.capitalize()}Service"
        return grpc.method_handlers_generic_handler(name, {"Export": grpc.unary_unary_rpc_method_handler(export)})

    server = grpc.server(ThreadPoolExecutor(4))
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
    """One HTTP response; `hangs` makes it wait for the end of the test."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/x-protobuf"})
    hangs: bool = False


@contextmanager
def http_receiver(*answers: HttpAnswer, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A server of both paths, which gives these answers in turn and then accepts everything."""
    receiver = Receiver()
    left = deque(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            request_type = ExportLogsServiceRequest if "logs" in self.path else ExportMetricsServiceRequest
            headers = {key.lower(): value for key, value in self.headers.items()}
            receiver.received.append(Received(self.path, headers, request_type.FromString(body)))
            self.answer(left.popleft() if left else HttpAnswer())

        def answer(self, answer: HttpAnswer) -> None:
            if answer.hangs:
                receiver.hold.wait()
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.block_on_close = False  # a kept connection of the client would hold it up
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()
