"""A watch on which nothing happens: whoever asks meanwhile whether the agent is there goes on watching."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from otel_netagent.outputs.stream import inspector_pb2 as pb
from otel_netagent.outputs.stream import rpc
from otel_netagent.outputs.stream.service import EventStream
from tests.outputs.stream.samples import reset
from tests.outputs.stream.silent import silent_server

_ASKING_EACH_SECOND = [
    ("grpc.keepalive_time_ms", 1_000),
    # Else the client itself asks only once a minute where nothing is said.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


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
    with _watch(stream.port) as call, silent_server() as other, _watch(other) as other_call:
        assert _end_of(other_call) == "Too many pings"
        stream.publish(reset())
        assert next(iter(call)).name == "TCPRESET_NOSOCK"
