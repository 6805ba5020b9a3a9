"""The event streams of several agents, merged; a stream that breaks is opened again."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

import grpc

from otel_netagent.cli.inspector.address import Address
from otel_netagent.outputs.stream import inspector_pb2 as pb
from otel_netagent.outputs.stream import rpc

_RETRY_S = 1.0
_MAX_UNREAD = 256

_OPTIONS = [
    # An agent has an address of the cluster, which a proxy to the outside cannot reach.
    ("grpc.enable_http_proxy", 0),
    # Also limits a connection attempt.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A stream may be silent for hours: pings distinguish a node that vanished from a quiet one.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]

_TOO_OLD = "this agent is older, and accepts one value each of --type, --pod and --namespace"


@dataclass(frozen=True, slots=True)
class Opened:
    """The agent at `source` serves the stream now, or again (ACK Net Exporter does not report this)."""

    source: Address


@dataclass(frozen=True, slots=True)
class Broken:
    """The stream of `source` could not be opened, or ended. It is retried."""

    source: Address
    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """An event came from `source`."""

    source: Address
    event: pb.Event


News: TypeAlias = Opened | Broken | Received


class EventStreams:
    """Iterates over the news of several agents, in the order of arrival.

    A thread reads each stream. If the reader of this iterator is slow, the threads wait for it, and the agents count
    the events that they drop meanwhile.
    """

    def __init__(self, addresses: Sequence[Address], request: pb.WatchRequest) -> None:
        """Prepare to send `request` to each of `addresses`; the streams are open within a `with` block."""
        self._request = request
        self._changed = threading.Condition()
        self._unread: deque[News] = deque()
        self._calls: dict[Address, grpc.CallIterator[pb.WatchReply]] = {}
        self._closed = False
        self._threads = [threading.Thread(target=self._follow, args=(each,), daemon=True) for each in addresses]

    def __enter__(self) -> Self:
        """Begin to read."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End every stream and its thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            calls = list(self._calls.values())
        for call in calls:
            call.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs says nothing of it
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[News]:
        """News without end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unread)
                news = self._unread.popleft()
                self._changed.notify_all()
            yield news

    def _follow(self, source: Address) -> None:
        with grpc.insecure_channel(f"dns:///{source}", options=_OPTIONS) as channel:
            # Only the first attempt fails at once if nobody listens; later ones wait until the agent is back.
            wait_for_ready = False
            while (call := self._open(source, channel, wait_for_ready)) is not None:
                self._put(Broken(source, self._read(source, call)))
                wait_for_ready = True
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, timeout=_RETRY_S)

    def _open(
        self, source: Address, channel: grpc.Channel, wait_for_ready: bool
    ) -> grpc.CallIterator[pb.WatchReply] | None:
        with self._changed:
            if self._closed:
                return None
            call = rpc.watch_event(channel)(self._request, wait_for_ready=wait_for_ready)
            self._calls[source] = call
            return call

    def _read(self, source: Address, call: grpc.CallIterator[pb.WatchReply]) -> str:
        """Pass the events of the stream on until it ends; return the reason of its end."""
        try:
            said = call.initial_metadata()
            if (self._request.names or self._request.filters) and rpc.ALTERNATIVES[0] not in said:
                call.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs says nothing of it
                return _TOO_OLD
            if rpc.WATCHING[0] in said:
                self._put(Opened(source))
            for reply in call:
                self._put(Received(source, reply.event))
        except grpc.RpcError as error:
            return _reason(error)
        return "the agent ended the stream"

    def _put(self, news: News) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._unread) < _MAX_UNREAD or self._closed)
            self._unread.append(news)
            self._changed.notify_all()


def _reason(error: grpc.RpcError) -> str:
    details = error.details() or error.code().name
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        # "failed to connect to all addresses; last error: UNKNOWN: ...: Connection refused", or the same in brackets.
        return details.rpartition(": ")[2].rstrip("]")
    return details
