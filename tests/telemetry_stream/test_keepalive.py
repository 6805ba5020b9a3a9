"""A watch on which nothing happens: whoever asks meanwhile whether the agent is there goes on watching."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from otel_netagent.telemetry.stream import inspector_pb2 as pb
from otel_netagent.telemetry.stream import rpc
from otel_netagent.telemetry.stream.service import EventStream
from tests.telemetry_stream.samples import reset

_ASKING_EACH_SECOND = [
    ("grpc.keepalive_time_ms", 1_000),
    # Else the client itself asks only once a minute where nothing is said.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


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
def _server_with_the_defaults_of_grpc() -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(1), handlers=[rpc.handler_of(_Silent())])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


@contextmanager
def _watch(port: int) -> Iterator[grpc.CallIterator[pb.WatchReply]]:
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=_ASKING_EACH_SECOND) as channel:
        call = rpc.watch_event(channel)(pb.WatchRequest(), timeout=60)
        call.initial_metadata()
        yield call


def _end_of(call: grpc.CallIterator[pb.WatchReply]) -> str:
    try:
        next(iter(call))
    except grpc.RpcError as error:
        return str(error.details())
    raise AssertionError("it said something")


def test_watch_in_silence_is_not_cut_where_the_defaults_of_grpc_cut_it(stream: EventStream) -> None:
    with _watch(stream.port) as call, _server_with_the_defaults_of_grpc() as other, _watch(other) as other_call:
        assert _end_of(other_call) == "Too many pings"
        stream.publish(reset())
        assert next(iter(call)).name == "TCPRESET_NOSOCK"
