"""Each lock of what serves and shows keeps out who comes in the midst. Those of deliveries are in delivery/."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing

import pytest
from opentelemetry.sdk.resources import Resource

from otel_netagent.outputs.content_coding import Coding
from otel_netagent.outputs.http.exposition import Exposition
from otel_netagent.outputs.http.server import HttpServer
from otel_netagent.outputs.self_telemetry.agent_state import AgentState
from otel_netagent.outputs.self_telemetry.telemetry import SelfTelemetry
from tests.outputs.rival import Rival
from tests.outputs.samples import NODE

_USES: Mapping[str, Callable[[Exposition], object]] = {
    "publish": lambda exposition: exposition.publish(lambda: [b"later"]),
    "answer": lambda exposition: exposition.answer(Coding.GZIP),
}


@pytest.mark.parametrize("use", _USES)
def test_one_rendering_at_a_time_while_somebody_asks(use: str) -> None:
    exposition = Exposition()
    rival = Rival(lambda: _USES[use](exposition))

    def render() -> Iterable[bytes]:
        rival()
        return [b"text"]

    exposition.publish(render)
    assert exposition.answer(Coding.IDENTITY) == b"text"
    rival.check()


@pytest.mark.parametrize("use", _USES)
def test_one_rendering_at_a_time_while_the_next_is_made(use: str) -> None:
    exposition = Exposition()
    rival = Rival(lambda: _USES[use](exposition))

    def render() -> Iterable[bytes]:
        rival()
        return [b"text"]

    exposition.publish(lambda: [b"first"])
    for _ in range(2):
        exposition.answer(Coding.IDENTITY)  # so that it is expected of the next
    exposition.publish(render)
    rival.check()


def test_who_waits_for_a_rendering_gets_that_one() -> None:
    exposition = Exposition()
    rival = Rival(lambda: exposition.answer(Coding.IDENTITY))
    rendered = []

    def render() -> Iterable[bytes]:
        rendered.append(1)
        rival()
        return [b"text"]

    exposition.publish(render)
    exposition.answer(Coding.IDENTITY)
    rival.check()
    assert len(rendered) == 1


_LOOKS: Mapping[str, Callable[[SelfTelemetry], object]] = {
    "page": lambda telemetry: telemetry.page(),
    "data": lambda telemetry: telemetry.data(),
}


@pytest.mark.parametrize("use", _LOOKS)
@pytest.mark.parametrize("rivals", _LOOKS)
def test_agent_is_looked_at_by_one_at_a_time(use: str, rivals: str) -> None:
    def look() -> AgentState:
        rival()
        return AgentState()

    telemetry = SelfTelemetry(Resource({}), NODE, look)
    rival = Rival(lambda: _LOOKS[rivals](telemetry))
    with closing(telemetry):
        _LOOKS[use](telemetry)
        rival.check()


class _Connections(dict[socket.socket, None]):
    """Connections, and who comes when they are looked at."""

    rival: Callable[[], object] = staticmethod(lambda: None)

    def __len__(self) -> int:
        self.rival()
        return super().__len__()

    def __delitem__(self, connection: socket.socket) -> None:
        self.rival()
        super().__delitem__(connection)

    def __iter__(self) -> Iterator[socket.socket]:
        each = super().__iter__()
        self.rival()
        return each


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.mark.parametrize(("use", "rivals"), [("enter", "enter"), ("enter", "leave"), ("leave", "enter")])
def test_connections_come_and_go_one_at_a_time(
    use: str, rivals: str, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(HttpServer(0, lambda: "{}")) as http:
        server, connections = http._server, _Connections(dict.fromkeys(pair))
        monkeypatch.setattr(server, "_connections", connections)
        connections.rival = rival = Rival(lambda: getattr(server, rivals)(pair[1]))
        getattr(server, use)(pair[0])
        rival.check()


@pytest.mark.parametrize("rivals", ["enter", "leave"])
def test_close_cuts_each_connection_whoever_comes_or_goes(
    rivals: str, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    http = HttpServer(0, lambda: "{}")
    server, connections = http._server, _Connections({pair[0]: None})
    monkeypatch.setattr(server, "_connections", connections)
    connections.rival = rival = Rival(lambda: getattr(server, rivals)(pair[rivals == "enter"]))
    http.close()
    rival.check()
    assert pair[0].recv(1) == b""
