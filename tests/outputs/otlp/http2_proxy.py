"""An HTTP/2 server that is no gRPC server: a proxy that answers each request with a status of its own (RFC 9113)."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0x0, 0x1, 0x4
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_STATUS_NAME = b"\x08"
"""A literal header field whose name is that of entry 8 of the static table, `:status` (RFC 7541, 6.2.2)."""


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


class _Proxy(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        assert self.rfile.read(len(_PREFACE)) == _PREFACE
        self.wfile.write(_frame(_SETTINGS, 0, 0))
        while header := self.rfile.read(9):
            length, kind, flags, stream = int.from_bytes(header[:3]), header[3], header[4], int.from_bytes(header[5:])
            self.rfile.read(length)
            if kind == _SETTINGS and not flags & _ACK:
                self.wfile.write(_frame(_SETTINGS, _ACK, 0))
            if kind == _DATA and flags & _END_STREAM:
                block = _STATUS_NAME + bytes((3,)) + str(self.server.status).encode()
                self.wfile.write(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, block))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(("127.0.0.1", 0), _Proxy)

    def handle_error(self, *_: object) -> None:
        """Nothing: the client goes away."""


@contextmanager
def http2_proxy(status: int) -> Iterator[int]:
    """The port of a proxy that answers this to everything."""
    with _Server(status) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
