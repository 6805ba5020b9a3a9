"""The server of the event stream."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import grpc

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.outputs.stream import inspector_pb2 as pb
from otel_netagent.outputs.stream import rpc
from otel_netagent.outputs.stream.filters import Filter
from otel_netagent.outputs.stream.messages import event_reply, lost_reply, metric_response
from otel_netagent.outputs.stream.subscription import Subscription

MAX_SUBSCRIBERS = 16
"""Each uses a thread of the server for as long as it watches."""

MAX_CONNECTIONS = 64
"""Each uses a file descriptor; further connections are closed at once."""

IDLE_S = 20.0
"""A connection without a call is closed after this time, with or without HTTP/2."""

QUEUE_CAPACITY = 1024
"""The most replies that wait for one subscriber: about half a megabyte."""

_QUERY_THREADS = 2
_CLOSE_GRACE_S = 0.2
_MAX_RESPONSE_BYTES = 4 << 20
"""What a gRPC client accepts unless configured otherwise."""

_OPTIONS = [
    # Otherwise a second agent would share the port, and each would get a part of the subscribers.
    ("grpc.so_reuseport", 0),
    # A subscriber whose node vanished must not keep its place for ever.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Clients ping too, on a stream that may be silent for hours: up to once a second; by default the server allows
    # only one in 5 minutes. Half a second here, since pings do not arrive to the millisecond.
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
]


class EventPortError(Exception):
    """The agent cannot listen on the port of the event stream; the text names the configuration key and the remedy."""

    def __init__(self, port: int, cause: str) -> None:
        """`cause` is the kernel's error."""
        super().__init__(
            f"event_config.port: cannot listen on port {port}: {cause}; free it "
            f"(`ss -ltnp sport = :{port}` shows who holds it), set another port, or set event_config.enable to false"
        )


class EventStream:
    """Serves `proto.inspector` on every address of the node, IPv4 and IPv6, from construction until `close`.

    Thread-safe. `port` is the port that it listens on.
    """

    def __init__(
        self,
        node: str,
        port: int = rpc.DEFAULT_PORT,
        *,
        max_subscribers: int = MAX_SUBSCRIBERS,
        queue_capacity: int = QUEUE_CAPACITY,
        idle_s: float = IDLE_S,
    ) -> None:
        """Listen and serve; port 0 selects a free port. `node` is the node's name. Raises EventPortError."""
        self._node = node
        self._max_subscribers = max_subscribers
        self._queue_capacity = queue_capacity
        self._lock = threading.Lock()
        self._subscriptions: set[Subscription] = set()
        self._lost = 0
        self._snapshot: Snapshot | None = None
        self._threads = ThreadPoolExecutor(max_subscribers + _QUERY_THREADS, thread_name_prefix="event-stream")
        options = [*_OPTIONS, ("grpc.max_connection_idle_ms", int(idle_s * 1000))]
        self._server = grpc.server(self._threads, handlers=[rpc.handler_of(self)], options=options)
        self.port = _listen(self._server, port)
        self._server.start()

    def __enter__(self) -> Self:
        """Return itself: it serves since its construction."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()

    @property
    def subscribers(self) -> int:
        """Number of clients that watch."""
        return len(self._subscriptions)

    @property
    def events_lost(self) -> int:
        """Events dropped since the start because a subscriber was too slow, counted once for each such subscriber."""
        return self._lost

    def publish(self, event: AttributedEvent) -> None:
        """Queue an event for every subscriber whose filter matches it. Never waits for a subscriber."""
        if not self._subscriptions:
            return
        with self._lock:
            wanting = [each for each in self._subscriptions if each.wanted.wants_event(self._node, event)]
            if not wanting:
                return
            reply = event_reply(self._node, event).SerializeToString()
            self._lost += sum(not subscription.offer(reply) for subscription in wanting)

    def publish_snapshot(self, snapshot: Snapshot) -> None:
        """Answer queries from this snapshot from now on."""
        self._snapshot = snapshot

    def close(self) -> None:
        """End every stream and the server, within half a second, however slow a subscriber is."""
        stopped = self._server.stop(_CLOSE_GRACE_S)
        with self._lock:
            for subscription in self._subscriptions:
                subscription.close()
        stopped.wait()
        self._threads.shutdown()

    def watch_event(self, request: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Serve `WatchEvent`: see `inspector.proto`."""
        subscription = self._subscribe(request, context)
        context.send_initial_metadata((*rpc.WATCHING, *rpc.ALTERNATIVES))
        for lost, reply in subscription.deliveries():
            if lost:
                yield lost_reply(self._node, lost, time.time_ns()).SerializeToString()
            yield reply

    def query_metric(self, request: pb.QueryMetricRequest, context: grpc.ServicerContext) -> pb.QueryMetricResponse:
        """Serve `QueryMetric`: see `inspector.proto`."""
        if self._snapshot is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "nothing has been collected yet; is metric_config.enable true?")
        response = metric_response(self._node, self._snapshot, request)
        if (size := response.ByteSize()) > _MAX_RESPONSE_BYTES:
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{len(response.metrics)} numbers make {size} bytes, and a client accepts {_MAX_RESPONSE_BYTES}; "
                "ask for one series, probe, pod or namespace",
            )
        return response

    def _subscribe(self, request: pb.WatchRequest, context: grpc.ServicerContext) -> Subscription:
        subscription = Subscription(Filter.of_watch(request), self._queue_capacity)
        with self._lock:
            room = len(self._subscriptions) < self._max_subscribers
            if room:
                self._subscriptions.add(subscription)
        if not room:
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._max_subscribers} clients watch the events of {self._node} already, which is the limit; "
                "stop one of them and try again",
            )
        if not context.add_callback(lambda: self._unsubscribe(subscription)):
            self._unsubscribe(subscription)
        return subscription

    def _unsubscribe(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions.discard(subscription)
        subscription.close()


def _listen(server: grpc.Server, port: int) -> int:
    """Make the server listen on every address; return the port."""
    try:
        # gRPC does not report the cause, and accepts that one of IPv4 and IPv6 is in use: so the kernel is asked first.
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        socket.create_server(("", port), family=family, dualstack_ipv6=dual).close()
        return server.add_insecure_port(f"[::]:{port}")
    except OSError as error:
        raise EventPortError(port, os.strerror(error.errno or 0)) from error
    except RuntimeError as error:  # the port was taken between the two calls above
        raise EventPortError(port, str(error)) from error
