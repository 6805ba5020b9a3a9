"""The head of an HTTP request: read within limits of bytes and time before it is parsed."""

from __future__ import annotations

import re
import select
import socket
import time
from http import HTTPStatus
from typing import Final

HEAD_BYTES: Final = 16 << 10
"""Limit of request line and headers together, as in most servers and proxies."""

_HEAD_S: Final = 10.0
_REST_S: Final = 2.0
_PIECE_BYTES: Final = 64 << 10

_END: Final = re.compile(rb"\n\r?\n")
_OVERLAP: Final = 2


class HeadRefused(Exception):
    """The head is rejected. `status` is the HTTP status to answer, the text is the reason."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        """`why` is a sentence for the client."""
        super().__init__(why)
        self.status = status


def read_head(connection: socket.socket, within_s: float = _HEAD_S) -> bytes:
    """The head, with any bytes received together with it; incomplete where the client sends no more.

    Raises HeadRefused if the head is too large or takes too long.
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
    """After an answer, read and discard what the client still sends.

    Closing a connection with unread data resets it, and the reset may overtake the answer (RFC 9112, section 9.6).
    """
    connection.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + within_s
    while _readable(connection, deadline) and connection.recv(_PIECE_BYTES):
        pass


def _readable(connection: socket.socket, deadline: float) -> bool:
    """Wait until there is data or the end of the stream; False at `deadline` (monotonic time)."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
