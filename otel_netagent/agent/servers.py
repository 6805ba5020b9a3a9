"""The two ports that the agent listens on, and the move to others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from otel_netagent.outputs.http.server import HttpServer, ListenError
from otel_netagent.outputs.stream.service import EventPortError, EventStream

ServerT = TypeVar("ServerT", HttpServer, EventStream)


@dataclass(slots=True)
class _Place(Generic[ServerT]):
    """Where one of them listens now, if it does, and how it is started."""

    start: Callable[[int], ServerT]
    server: ServerT | None = None

    @property
    def port(self) -> int | None:
        return None if self.server is None else self.server.port

    def replace(self, server: ServerT | None) -> None:
        if self.server is not None:
            self.server.close()
        self.server = server


class Servers:
    """The HTTP server and the event stream. One that stays at its port goes on, with all its connections."""

    def __init__(self, node: str, status: Callable[[], str]) -> None:
        """Nothing is listened on before `listen`. `status` gives the JSON that `/status` answers."""
        self._http: _Place[HttpServer] = _Place(lambda port: HttpServer(port, status))
        self._stream: _Place[EventStream] = _Place(lambda port: EventStream(node, port))

    @property
    def http(self) -> HttpServer | None:
        """The one that serves `/metrics` and `/status`."""
        return self._http.server

    @property
    def stream(self) -> EventStream | None:
        """The one that serves events."""
        return self._stream.server

    def listen(self, http_port: int | None, stream_port: int | None) -> None:
        """Listen on these ports; None: not at all.

        Raises ListenError or EventPortError where one cannot be had; both are listened on as before.
        """
        before = self._http.port, self._stream.port
        try:
            self._move(http_port, stream_port)
        except (ListenError, EventPortError):
            self._move(*before)
            raise

    def close(self) -> None:
        """Stop listening, and cut every connection."""
        self._move(None, None)

    def _move(self, http_port: int | None, stream_port: int | None) -> None:
        """The old ports are left when the new ones are had, but for one that the other server is to have."""
        for place, other_port in ((self._http, stream_port), (self._stream, http_port)):
            if place.port == other_port:
                place.replace(None)
        with contextlib.ExitStack() as started:
            http = _started(self._http, http_port, started)
            stream = _started(self._stream, stream_port, started)
            started.pop_all()
        if self._http.server is not http:
            self._http.replace(http)
        if self._stream.server is not stream:
            self._stream.replace(stream)


def _started(place: _Place[ServerT], port: int | None, started: contextlib.ExitStack) -> ServerT | None:
    """The server of this port: the one that there is, or a new one, which is closed with `started`."""
    if port is None or place.port == port:
        return place.server if port is not None else None
    server = place.start(port)
    started.callback(server.close)
    return server
