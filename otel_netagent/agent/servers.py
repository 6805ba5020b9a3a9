"""The two ports that the agent listens on, and the move to others."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from otel_netagent.agent.prepared import Prepared
from otel_netagent.outputs.http.server import HttpServer
from otel_netagent.outputs.stream.service import EventStream

ServerT = TypeVar("ServerT", HttpServer, EventStream)


class Listening(NamedTuple):
    """The server of `/metrics` and `/status`, and the server of events; None where it does not listen."""

    http: HttpServer | None
    stream: EventStream | None


@dataclass(slots=True)
class _Listener(Generic[ServerT]):
    """One of the two servers, if it listens now, and how it is started."""

    start: Callable[[int], ServerT]
    server: ServerT | None = None

    @property
    def port(self) -> int | None:
        return None if self.server is None else self.server.port

    def replace(self, server: ServerT | None) -> None:
        if self.server is not None and self.server is not server:
            self.server.close()
        self.server = server

    def listen_again(self, port: int | None) -> None:
        if port is not None and self.server is None:
            self.server = self.start(port)


class Servers:
    """The HTTP server and the event stream. One that stays at its port goes on, with all its connections."""

    def __init__(self, node: str, status: Callable[[], str]) -> None:
        """Nothing listens yet. `status` gives the JSON that `/status` answers."""
        self._http: _Listener[HttpServer] = _Listener(lambda port: HttpServer(port, status))
        self._stream: _Listener[EventStream] = _Listener(lambda port: EventStream(node, port))

    def prepare(self, http_port: int | None, stream_port: int | None) -> Prepared[Listening]:
        """Listen on these ports too; None: not at all. One that the other server holds until now is left first.

        Raises ListenError or EventPortError where one is unavailable; both servers listen as before then.
        """
        with contextlib.ExitStack() as new:
            for listener in (self._http, self._stream):
                new.callback(listener.listen_again, listener.port)
            for listener, other_port in ((self._http, stream_port), (self._stream, http_port)):
                if listener.port == other_port:
                    listener.replace(None)
            wanted = Listening(_started(self._http, http_port, new), _started(self._stream, stream_port, new))
            return Prepared(wanted, functools.partial(self._commit, wanted), new.pop_all().close)

    def close(self) -> None:
        """Stop listening, and cut every connection."""
        self._commit(Listening(None, None))

    def _commit(self, wanted: Listening) -> None:
        self._http.replace(wanted.http)
        self._stream.replace(wanted.stream)


def _started(listener: _Listener[ServerT], port: int | None, new: contextlib.ExitStack) -> ServerT | None:
    """The server of this port: the one that there is, or a new one, which is closed with `new`."""
    if port is None or listener.port == port:
        return listener.server if port is not None else None
    server = listener.start(port)
    new.callback(server.close)
    return server
