"""Heads of requests that are too large or take too long, by raw bytes over real sockets."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import socket
import sys
import termios
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from otel_netagent.outputs.http.head import HeadRefused, read_head
from otel_netagent.outputs.http.server import HttpServer

LIMIT = 16_384
_WHOLE = b"GET / HTTP/1.1\r\n\r\n"


@pytest.fixture
def server() -> Iterator[HttpServer]:
    server = HttpServer(0, lambda: "{}")
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def connected(server: HttpServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        yield client


def head_of(size: int) -> bytes:
    """A request whose head has so many bytes, in headers that are each as short as anybody's."""
    line, end = b"GET /status HTTP/1.1\r\n", b"\r\n"
    headers = b"".join(b"X-%02d: %s\r\n" % (number, b"x" * 1000) for number in range(14))
    rest = size - len(line) - len(headers) - len(b"X: \r\n") - len(end)
    return line + headers + b"X: " + b"x" * rest + b"\r\n" + end


def answer(client: socket.socket) -> bytes:
    """Everything up to the end of the connection, which may be a reset."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            received += piece
    return received


def status(answered: bytes) -> int:
    assert answered.startswith(b"HTTP/1.0 "), answered
    return int(answered.split()[1])


def test_head_of_exactly_the_limit_is_answered_and_one_byte_more_is_not(server: HttpServer) -> None:
    for size, expected in ((LIMIT, 200), (LIMIT + 1, 431)):
        head = head_of(size)
        assert len(head) == size
        with connected(server) as client:
            client.sendall(head)
            assert status(answer(client)) == expected


def test_refusal_says_what_the_limit_is(server: HttpServer) -> None:
    with connected(server) as client:
        client.sendall(b"GET /" + b"x" * LIMIT)
        answered = answer(client)
    assert status(answered) == 431
    assert b"must not exceed 16384 bytes" in answered


def test_refusal_arrives_although_more_is_sent(server: HttpServer) -> None:
    """A connection that is closed with something unread is reset, and who is writing then never reads the answer."""
    with connected(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + b"".join(b"X: %s\r\n" % (b"x" * 65_000) for _ in range(98)))
        assert status(answer(client)) == 431


def test_head_that_never_ends_is_refused_and_cut(server: HttpServer) -> None:
    sent = 0
    with connected(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for sent in itertools.count():  # noqa: B007 - how many it was is asserted
                client.sendall(b"X: %s\r\n" % (b"x" * 1000))
                time.sleep(0.001)
        assert status(answer(client)) == 431
    assert sent * 1000 > LIMIT


@pytest.mark.parametrize("cut", range(1, len(_WHOLE)))
def test_head_that_comes_in_two_pieces_is_read(cut: int) -> None:
    ours, theirs = socket.socketpair()

    def send() -> None:
        theirs.sendall(_WHOLE[:cut])
        while _unread(ours):
            time.sleep(0.001)
        theirs.sendall(_WHOLE[cut:])

    sending = threading.Thread(target=send)
    with ours, theirs:
        sending.start()
        assert read_head(ours, within_s=10) == _WHOLE
        sending.join()


def _unread(connection: socket.socket) -> int:
    """How many bytes wait to be read (FIONREAD)."""
    return int.from_bytes(fcntl.ioctl(connection, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\n\n"])
def test_lines_may_end_without_carriage_return(server: HttpServer, end: bytes) -> None:
    with connected(server) as client:
        client.sendall(b"GET /status HTTP/1.1" + end)
        assert status(answer(client)) == 200


def test_of_requests_that_come_at_once_the_first_is_answered(server: HttpServer) -> None:
    one = head_of(LIMIT - 100)
    with connected(server) as client:
        client.sendall(one + one)
        answered = answer(client)
    assert status(answered) == 200
    assert answered.count(b"HTTP/1.0 ") == 1


def test_client_that_leaves_halfway_is_no_error(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    with connected(server) as client:
        client.sendall(b"GET /sta")
        client.shutdown(socket.SHUT_WR)
        assert b"200" not in answer(client)
    assert not caplog.records


def test_slow_sender_is_refused_when_the_time_for_all_of_the_head_is_over() -> None:
    ours, theirs = socket.socketpair()
    stopping = threading.Event()

    def drip() -> None:
        for _ in range(200):
            if stopping.wait(0.05):
                return
            theirs.sendall(b"x")
        theirs.shutdown(socket.SHUT_WR)

    dripping = threading.Thread(target=drip)
    with ours, theirs:
        dripping.start()
        began = time.monotonic()
        try:
            with pytest.raises(HeadRefused) as refusal:
                read_head(ours, within_s=0.5)
        finally:
            stopping.set()
            dripping.join()
    assert refusal.value.status is HTTPStatus.REQUEST_TIMEOUT
    assert str(refusal.value) == "The head of a request must come within 0.5 s."
    assert time.monotonic() - began >= 0.5


def test_silent_sender_is_refused_too() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(HeadRefused, match=r"within 0\.1 s"):
        read_head(ours, within_s=0.1)
