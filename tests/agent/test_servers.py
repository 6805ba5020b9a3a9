"""The move from ports to others: nobody is cut off who need not be, and a port that is taken changes nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_netagent.agent.servers import Servers
from otel_netagent.outputs.http.server import ListenError
from otel_netagent.outputs.stream.service import EventPortError
from tests.agent.running import free_port


def open_servers() -> Servers:
    return Servers("node", lambda: "{}")


@pytest.fixture
def servers() -> Iterator[Servers]:
    servers = open_servers()
    yield servers
    servers.close()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("", 0)) as holder:
        yield int(holder.getsockname()[1])


def answers_http(port: int) -> bool:
    """Rather than HTTP/2, as the event stream does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET /status HTTP/1.0\r\n\r\n")
            return client.recv(100).startswith(b"HTTP/1.0 200 ")
    except OSError:
        return False


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_that_stays_is_the_same(servers: Servers) -> None:
    http_port, event_port, another = free_port(), free_port(), free_port()
    servers.listen(http_port, event_port)
    http_server, stream = servers.http, servers.stream
    servers.listen(http_port, another)
    assert servers.http is http_server
    assert servers.stream is not stream
    assert (answers_http(http_port), is_open(event_port), is_open(another)) == (True, False, True)
    servers.listen(http_port, None)
    assert servers.stream is None
    assert not is_open(another)


def test_a_taken_http_port_changes_nothing(servers: Servers, taken_port: int) -> None:
    http_port, event_port = free_port(), free_port()
    servers.listen(http_port, event_port)
    before = servers.http, servers.stream
    with pytest.raises(ListenError, match=f"port {taken_port} is in use"):
        servers.listen(taken_port, free_port())
    with pytest.raises(EventPortError, match=f"port {taken_port}: Address already in use"):
        servers.listen(free_port(), taken_port)
    assert (servers.http, servers.stream) == before
    assert answers_http(http_port)
    assert is_open(event_port)


def test_two_servers_change_places(servers: Servers) -> None:
    first, second = free_port(), free_port()
    servers.listen(first, second)
    servers.listen(second, first)
    assert answers_http(second)
    assert not answers_http(first)
    assert is_open(first)


def test_a_change_of_places_that_fails_is_taken_back(servers: Servers, taken_port: int) -> None:
    first, second = free_port(), free_port()
    servers.listen(first, second)
    with pytest.raises(EventPortError):
        servers.listen(second, taken_port)
    assert answers_http(first)
    assert is_open(second)


_PORTS = free_port(), free_port(), free_port()
_MOVES = st.tuples(st.sampled_from(_PORTS), st.none() | st.sampled_from(_PORTS)).filter(
    lambda ports: ports[0] != ports[1]
)


@settings(max_examples=25)
@given(st.lists(_MOVES, min_size=1, max_size=4))
def test_after_any_moves_the_last_ports_are_listened_on_and_no_others(moves: list[tuple[int, int | None]]) -> None:
    servers = open_servers()
    try:
        for http_port, stream_port in moves:
            servers.listen(http_port, stream_port)
        http_port, stream_port = moves[-1]
        assert answers_http(http_port)
        assert {port for port in _PORTS if is_open(port)} == {http_port, stream_port} - {None}
    finally:
        servers.close()
    assert not any(map(is_open, _PORTS))
