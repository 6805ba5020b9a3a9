"""The move from ports to others: nobody is cut off who need not be, and a port that is taken changes nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_netagent.agent.servers import Listening, Servers
from otel_netagent.outputs.http.server import ListenError
from otel_netagent.outputs.stream.service import EventPortError
from tests.agent.running import free_port


def open_servers() -> Servers:
    return Servers("node", lambda: "{}")


def listen(servers: Servers, http_port: int, stream_port: int | None) -> Listening:
    """Have them listen on these ports and no others."""
    prepared = servers.prepare(http_port, stream_port)
    prepared.commit()
    return prepared.parts


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
    before = listen(servers, http_port, event_port)
    after = listen(servers, http_port, another)
    assert after.http is before.http
    assert after.stream is not before.stream
    assert (answers_http(http_port), is_open(event_port), is_open(another)) == (True, False, True)
    assert listen(servers, http_port, None).stream is None
    assert not is_open(another)


def test_a_taken_http_port_changes_nothing(servers: Servers, taken_port: int) -> None:
    http_port, event_port = free_port(), free_port()
    before = listen(servers, http_port, event_port)
    with pytest.raises(ListenError, match=f"port {taken_port} is in use"):
        listen(servers, taken_port, free_port())
    with pytest.raises(EventPortError, match=f"port {taken_port}: Address already in use"):
        listen(servers, free_port(), taken_port)
    assert listen(servers, http_port, event_port) == before
    assert answers_http(http_port)
    assert is_open(event_port)


def test_two_servers_change_places(servers: Servers) -> None:
    first, second = free_port(), free_port()
    listen(servers, first, second)
    listen(servers, second, first)
    assert answers_http(second)
    assert not answers_http(first)
    assert is_open(first)


def test_a_change_of_places_that_fails_is_taken_back(servers: Servers, taken_port: int) -> None:
    first, second = free_port(), free_port()
    listen(servers, first, second)
    with pytest.raises(EventPortError):
        listen(servers, second, taken_port)
    assert answers_http(first)
    assert is_open(second)


def test_what_is_prepared_is_open_beside_what_runs_and_may_be_taken_back(servers: Servers) -> None:
    http_port, event_port, another, one_more = (free_port() for _ in range(4))
    before = listen(servers, http_port, event_port)
    prepared = servers.prepare(another, one_more)
    assert all(map(is_open, (http_port, event_port, another, one_more)))
    prepared.cancel()
    assert [is_open(port) for port in (http_port, event_port, another, one_more)] == [True, True, False, False]
    assert listen(servers, http_port, event_port) == before


def test_a_change_of_places_may_be_taken_back(servers: Servers) -> None:
    first, second = free_port(), free_port()
    listen(servers, first, second)
    servers.prepare(second, first).cancel()
    assert answers_http(first)
    assert is_open(second)
    assert not answers_http(second)


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
            listen(servers, http_port, stream_port)
        http_port, stream_port = moves[-1]
        assert answers_http(http_port)
        assert {port for port in _PORTS if is_open(port)} == {http_port, stream_port} - {None}
    finally:
        servers.close()
    assert not any(map(is_open, _PORTS))
