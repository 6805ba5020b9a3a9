"""Connections that ask for nothing: how many there may be, and for how long."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

from otel_netagent.outputs.stream.service import MAX_CONNECTIONS, EventStream
from tests.outputs.stream.original_client import OriginalClient
from tests.outputs.stream.samples import NODE, SNAPSHOT, reset, wait_until

Connect = Callable[..., OriginalClient]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = bytes(3) + b"\x04" + bytes(5)
_ACKNOWLEDGED = bytes(3) + b"\x04\x01" + bytes(4)
"""How a connection begins (RFC 9113, section 3.4)."""

_SOON_S = 0.5


@contextlib.contextmanager
def idle_connections(port: int, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections on which this is said, and then nothing."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in range(count)]
        for client in clients:
            with contextlib.suppress(ConnectionError):  # closed as it came
                client.sendall(said)
            client.setblocking(False)
        yield clients


def is_open(client: socket.socket) -> bool:
    try:
        while client.recv(4096):
            pass
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False


def test_connections_beyond_the_limit_are_closed_as_they_come(stream: EventStream, connect: Connect) -> None:
    call = connect(stream.port).watch()
    with idle_connections(stream.port, 3 * MAX_CONNECTIONS) as clients:
        wait_until(lambda: sum(map(is_open, clients)) < MAX_CONNECTIONS)
        stream.publish(reset())
        assert next(call).name == "TCPRESET_NOSOCK"
        assert sum(map(is_open, clients)) == MAX_CONNECTIONS - 1, "the watch is one"


def test_connection_that_says_nothing_is_closed_and_makes_room(connect: Connect) -> None:
    with EventStream(NODE, 0, idle_s=_SOON_S) as stream, idle_connections(stream.port, MAX_CONNECTIONS) as clients:
        wait_until(lambda: not any(map(is_open, clients)))
        stream.publish_snapshot(SNAPSHOT)
        assert connect(stream.port).query("tcp")[1]


def test_connection_without_a_call_is_closed_and_the_one_with_a_silent_watch_is_not(connect: Connect) -> None:
    with EventStream(NODE, 0, idle_s=_SOON_S) as stream:
        call = connect(stream.port).watch()
        with idle_connections(stream.port, 1, _PREFACE + _SETTINGS + _ACKNOWLEDGED) as (client,):
            wait_until(lambda: not is_open(client))
        stream.publish(reset())
        assert next(call).name == "TCPRESET_NOSOCK"


def test_client_whose_connection_was_closed_for_want_of_a_call_asks_again(connect: Connect) -> None:
    with EventStream(NODE, 0, idle_s=_SOON_S) as stream:
        stream.publish_snapshot(SNAPSHOT)
        client = connect(stream.port)
        assert client.query("tcp")[1]
        with idle_connections(stream.port, 1, _PREFACE + _SETTINGS + _ACKNOWLEDGED) as (other,):
            wait_until(lambda: not is_open(other))
        assert client.query("tcp")[1]
