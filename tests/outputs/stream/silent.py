"""A server of the event stream with the defaults of gRPC that knows no alternatives, as agents were before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from otel_netagent.outputs.stream import inspector_pb2 as pb
from otel_netagent.outputs.stream import rpc


class _Silent:
    """Serves `WatchEvent`, and says nothing on it."""

    def __init__(self) -> None:
        self._ended = threading.Event()

    def watch_event(self, _request: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self._ended.set)
        context.send_initial_metadata(rpc.WATCHING)
        self._ended.wait()
        yield from ()

    def query_metric(self, _request: pb.QueryMetricRequest, _context: grpc.ServicerContext) -> pb.QueryMetricResponse:
        raise NotImplementedError


@contextmanager
def silent_server() -> Iterator[int]:
    """Its port."""
    server = grpc.server(ThreadPoolExecutor(1), handlers=[rpc.handler_of(_Silent())])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()
