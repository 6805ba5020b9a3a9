"""The two methods of `proto.inspector`, for the server and for a client.

Written by hand: code from the gRPC generator rejects every grpcio older than the generator, and here a reply to many
subscribers is serialised once, not once for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import grpc

from otel_netagent.outputs.stream import inspector_pb2 as pb

SERVICE = "proto.inspector"
DEFAULT_PORT = 19102

WATCHING = (("netagent-watching", "yes"),)
"""Initial metadata of a served `WatchEvent`: the first event may come only hours later."""

ALTERNATIVES = (("netagent-alternatives", "yes"),)
"""As above, from an agent that supports `names` and `filters`: an older one ignores them."""


class Servicer(Protocol):
    """Serves the two methods."""

    def watch_event(self, request: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Serialised `WatchReply` messages, until the call ends."""

    def query_metric(self, request: pb.QueryMetricRequest, context: grpc.ServicerContext) -> pb.QueryMetricResponse:
        """The answer to one query."""


def handler_of(servicer: Servicer) -> grpc.GenericRpcHandler[object, object]:
    """The service, to be added to a `grpc.Server`."""
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "WatchEvent": grpc.unary_stream_rpc_method_handler(
                servicer.watch_event,
                request_deserializer=pb.WatchRequest.FromString,
                response_serializer=None,
            ),
            "QueryMetric": grpc.unary_unary_rpc_method_handler(
                servicer.query_metric,
                request_deserializer=pb.QueryMetricRequest.FromString,
                response_serializer=pb.QueryMetricResponse.SerializeToString,
            ),
        },
    )


def watch_event(channel: grpc.Channel) -> grpc.UnaryStreamMultiCallable[pb.WatchRequest, pb.WatchReply]:
    """The client's side of `WatchEvent`."""
    return channel.unary_stream(
        f"/{SERVICE}/WatchEvent",
        request_serializer=pb.WatchRequest.SerializeToString,
        response_deserializer=pb.WatchReply.FromString,
    )
