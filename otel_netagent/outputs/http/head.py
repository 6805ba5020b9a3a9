"""The head of an HTTP request: read within a limit of bytes and of time, before anything is made of it."""

from __future__ import annotations

import re
import select
import socket
import time
from http import HTTPStatus
from typing import Final

HEAD_BYTES: Final = 16 << 10
"""Request line and headers in all, as most servers and proxies have it."""

_HEAD_S: Final = 10.0
_REST_S: Final = 2.0
_PIECE_BYTES: Final = 64 << 10

_END: Final = re.compile(rb"\n\r?\n")
_OVERLAP: Final = 2


class HeadRefused(Exception):
    """The head is not read any further; `status` is what to answer, the text says why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        """`why` is a sentence for whoever sent it."""
        super().__init__(why)
        self.status = status


def read_head(connection: socket.socket, within_s: float = _HEAD_S) -> bytes:
    """The head, with whatever came in one piece with it; what there is of it, where the client sends no more.

    Raises HeadRefused for a head that is too large, and for one that takes too long, be it a byte at a time.
    """
    deadline = time.monotonic() + within_s
    head = b""
    while len(head) < HEAD_BYTES:
        if not _readable(connection, deadline):
            raise HeadRefused(HTTPStatus.REQUEST_TIMEOUT, f"The head of a request must come within {within_s:g} s.")
        piece = connection.recv(HEAD_BYTES - len(head))
        searched, head = len(head), head + piece
        if not piece or _END.search(head, max(0, searched - _OVERLAP)):
            return head
    why = f"Request line and headers must not exceed {HEAD_BYTES} bytes."
    raise HeadRefused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, why)


def discard_rest(connection: socket.socket, within_s: float = _REST_S) -> None:
    """After an answer, read what the client goes on sending, for nothing.

    To close a connection with something unread is to reset it, which may overtake the answer (RFC 9112, section 9.6).
    """
    connection.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + within_s
    while _readable(connection, deadline) and connection.recv(_PIECE_BYTES):
        pass


def _readable(connection: socket.socket, deadline: float) -> bool:
    """Wait for something to read, or its end, until `deadline` (monotonic time)."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
