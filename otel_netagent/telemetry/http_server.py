"""The agent's HTTP server: `/metrics` for Prometheus, `/status` for people and tools."""

from __future__ import annotations

import errno
import gzip
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import ClassVar

from otel_netagent import __version__
from otel_netagent.telemetry.debug_pages import DebugPages
from otel_netagent.telemetry.prometheus import CONTENT_TYPE as EXPOSITION

logger = logging.getLogger(__name__)

_PLAIN = "text/plain; charset=utf-8"
_INDEX = (
    b"<!doctype html><html lang=en><meta charset=utf-8><title>otel-netagent</title><h1>otel-netagent</h1>"
    b'<p><a href="/metrics">/metrics</a>: what this node counts'
    b'<p><a href="/status">/status</a>: what the agent is doing\n'
)


class ListenError(Exception):
    """The port cannot be listened on; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class _Page:
    """A body and its compressed form, which is made when first asked for."""

    body: bytes
    content_type: str
    status: HTTPStatus = HTTPStatus.OK
    headers: tuple[tuple[str, str], ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @cached_property
    def _compressed(self) -> bytes:
        return gzip.compress(self.body, compresslevel=1, mtime=0)

    def gzipped(self) -> bytes:
        with self._lock:  # two scrapers at once must not compress it twice
            return self._compressed


_NO_SNAPSHOT_YET = _Page(
    b"nothing has been collected yet; ask again in a moment\n",
    _PLAIN,
    HTTPStatus.SERVICE_UNAVAILABLE,
    (("Retry-After", "5"),),
)
_METRICS_OFF = _Page(b"metrics are switched off by metric_config.enable\n", _PLAIN, HTTPStatus.NOT_FOUND)
_UNKNOWN = _Page(b"unknown path; there are /, /metrics and /status\n", _PLAIN, HTTPStatus.NOT_FOUND)


class HttpServer:
    """Serves the snapshot last published. A scrape collects nothing; the first one renders, for all that follow.

    Answers on IPv4 and IPv6, each connection in a thread of its own. A client that hangs holds up
    neither the others nor `close`. While `debug` is true, clients on this machine are also answered `/debug/...`.
    """

    def __init__(self, port: int, status: Callable[[], str], *, metrics: bool = True) -> None:
        """Listen and serve; port 0 takes a free one. `status` gives the JSON that `/status` answers.

        Raises ListenError when the port cannot be had.
        """
        self._status = status
        self.debug = False
        self._debug_pages = DebugPages()
        self._on = metrics
        self._metrics = _NO_SNAPSHOT_YET if metrics else _METRICS_OFF
        self._render: Callable[[], bytes] | None = None
        self._rendering = threading.Lock()
        self._server = _listen(port, self._page)
        # Closing wakes the accepting thread, so it need not look round for that (the poll interval).
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(3600.0,), name=f"http :{self.port}", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def publish(self, render: Callable[[], bytes]) -> None:
        """Let `/metrics` answer what `render` gives from now on. Called at most once, and never two of them at once."""
        with self._rendering:
            if self._on:
                self._render = render

    def switch_metrics(self, *, on: bool) -> None:
        """Let `/metrics` answer what is published from now on, or that metrics are switched off."""
        with self._rendering:
            if on != self._on:
                self._on, self._render = on, None
                self._metrics = _NO_SNAPSHOT_YET if on else _METRICS_OFF

    def close(self) -> None:
        """Stop listening and cut every connection."""
        self._server.close()
        self._thread.join()

    def _page(self, target: str, peer: str) -> _Page:
        match target.partition("?")[0]:
            case "/metrics":
                return self._metrics_page()
            case "/status":
                return _Page(self._status().encode(), "application/json")
            case "/":
                return _Page(_INDEX, "text/html; charset=utf-8")
            case path if path.startswith("/debug/") and self.debug:
                status, text = self._debug_pages.answer(target, peer)
                return _Page(text.encode(), _PLAIN, status)
            case _:
                return _UNKNOWN

    def _metrics_page(self) -> _Page:
        with self._rendering:
            if self._render is not None:
                self._metrics = _Page(self._render(), EXPOSITION)
                self._render = None
            return self._metrics


def _listen(port: int, page: Callable[[str, str], _Page]) -> _Server:
    try:
        try:
            return _Server(socket.AF_INET6, "::", port, page)
        except OSError as error:
            if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:  # the kernel runs without IPv6
                raise
            return _Server(socket.AF_INET, "0.0.0.0", port, page)  # noqa: S104 - a scraper comes from outside
    except OSError as error:
        raise ListenError(_why(port, error)) from error


def _why(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is in use, perhaps by another otel-netagent (`ss -ltnp 'sport = :{port}'` shows by whom): "
            "end that one or set metric_config.port to a free port"
        )
    return f"cannot listen on port {port}: {error.strerror}; metric_config.port sets another"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    _MOST_CONNECTIONS = 64

    def __init__(self, family: socket.AddressFamily, host: str, port: int, page: Callable[[str, str], _Page]) -> None:
        self.address_family = family
        self.page = page
        self._connections: dict[socket.socket, None] = {}  # oldest first
        self._closed = False
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def enter(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections[connection] = None
            if self._closed:
                _cut(connection)
            elif len(self._connections) > self._MOST_CONNECTIONS:
                # Clients that hang could otherwise take all threads that there may be: the oldest makes room.
                _cut(next(iter(self._connections)))

    def leave(self, connection: socket.socket) -> None:
        with self._lock:
            del self._connections[connection]

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the base's signature
        client_left = isinstance(sys.exception(), OSError)
        logger.log(logging.DEBUG if client_left else logging.ERROR, "no answer to %s", client_address, exc_info=True)

    def close(self) -> None:
        _cut(self.socket)  # wakes the accepting thread
        self.shutdown()
        self.server_close()
        with self._lock:
            self._closed = True
            for connection in self._connections:
                _cut(connection)


def _cut(connection: socket.socket) -> None:
    """End a connection from outside the thread that uses it, which then finds its end and closes it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        if error.errno != errno.ENOTCONN:  # the client was faster
            raise


class _Handler(BaseHTTPRequestHandler):
    """One request: HTTP/1.0, so that no thread waits for a scraper's next interval."""

    server: _Server
    server_version = f"otel-netagent/{__version__}"
    sys_version = ""
    timeout: ClassVar[float | None] = 10.0  # seconds of silence

    def setup(self) -> None:
        super().setup()
        self.server.enter(self.connection)

    def finish(self) -> None:
        self.server.leave(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self.wfile.write(self._answer())

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> bytes:
        """Send the head and return the body."""
        page = self.server.page(self.path, self.client_address[0])
        compress = _accepts_gzip(self.headers.get("Accept-Encoding", ""))
        body = page.gzipped() if compress else page.body
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Vary", "Accept-Encoding")
        if compress:
            self.send_header("Content-Encoding", "gzip")
        for name, value in page.headers:
            self.send_header(name, value)
        self.end_headers()
        return body

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
        """Requests are not logged."""


def _accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header (RFC 9110, section 12.5.3) names gzip, and not with weight 0."""
    for coding in accept_encoding.lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "").rstrip("0.") != "q="
    return False
