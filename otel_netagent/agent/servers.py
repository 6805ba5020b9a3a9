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
    """What serves `/metrics` and `/status`, and what serves events, where each is to be had."""

    http: HttpServer | None
    stream: EventStream | None


@dataclass(slots=True)
class _Place(Generic[ServerT]):
    """Where one of them listens now, if it does, and how it is started."""

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
        """Nothing is listened on before something that was prepared is committed.

        `status` gives the JSON that `/status` answers.
        """
        self._http: _Place[HttpServer] = _Place(lambda port: HttpServer(port, status))
        self._stream: _Place[EventStream] = _Place(lambda port: EventStream(node, port))

    def prepare(self, http_port: int | None, stream_port: int | None) -> Prepared[Listening]:
        """Listen on these ports too; None: not at all. One that the other server holds until now is left first.

        Raises ListenError or EventPortError where one cannot be had; both are listened on as before.
        """
        with contextlib.ExitStack() as new:
            for place in (self._http, self._stream):
                new.callback(place.listen_again, place.port)
            for place, other_port in ((self._http, stream_port), (self._stream, http_port)):
                if place.port == other_port:
                    place.replace(None)
            wanted = Listening(_started(self._http, http_port, new), _started(self._stream, stream_port, new))
            return Prepared(wanted, functools.partial(self._commit, wanted), new.pop_all().close)

    def close(self) -> None:
        """Stop listening, and cut every connection."""
        self._commit(Listening(None, None))

    def _commit(self, wanted: Listening) -> None:
        self._http.replace(wanted.http)
        self._stream.replace(wanted.stream)


def _started(place: _Place[ServerT], port: int | None, new: contextlib.ExitStack) -> ServerT | None:
    """The server of this port: the one that there is, or a new one, which is closed with `new`."""
    if port is None or place.port == port:
        return place.server if port is not None else None
    server = place.start(port)
    new.callback(server.close)
    return server
