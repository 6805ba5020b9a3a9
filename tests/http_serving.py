"""HTTP servers that tests play: the silent handler that answers, and the thread that listens."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers on connections that are kept, and writes no lines of its own."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Send a response; its length is what the content has, unless the headers say another."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server of the local host; its end waits for no client that keeps a connection."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type[Handler], port: int = 0) -> None:
        """Bind a port, a free one unless it is said which."""
        super().__init__(("127.0.0.1", port), handler)


@contextmanager
def listening(server: Server) -> Iterator[None]:
    """Have it answer in a thread, within the `with` block."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
