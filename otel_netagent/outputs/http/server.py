"""The agent's HTTP server: `/metrics` for Prometheus, `/status` for people and tools."""

from __future__ import annotations

import errno
import io
import logging
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Final

from otel_netagent import __version__
from otel_netagent.open_files import ShortageLog, is_shortage
from otel_netagent.outputs.content_coding import Coding
from otel_netagent.outputs.http.debug_pages import DebugPages
from otel_netagent.outputs.http.exposition import Exposition
from otel_netagent.outputs.http.head import HeadRefused, discard_rest, read_head
from otel_netagent.outputs.http.prometheus import CONTENT_TYPE as EXPOSITION

logger = logging.getLogger(__name__)

_SILENCE: Final = struct.pack("ll", 10, 0)
"""How long a client may read nothing, as a `struct timeval`: seconds and microseconds."""

_SHORTAGE_PAUSE_S: Final = 0.1

_PLAIN = "text/plain; charset=utf-8"
_INDEX = (
    b"<!doctype html><html lang=en><meta charset=utf-8><title>otel-netagent</title><h1>otel-netagent</h1>"
    b'<p><a href="/metrics">/metrics</a>: what this node counts'
    b'<p><a href="/status">/status</a>: what the agent is doing\n'
)


class ListenError(Exception):
    """The agent cannot listen on the port; the message is one line that says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A request: the target (path and query), the client's address, and the coding that it accepts."""

    target: str
    peer: str
    coding: Coding


@dataclass(frozen=True, slots=True)
class _Page:
    """An answer."""

    body: bytes
    content_type: str
    status: HTTPStatus = HTTPStatus.OK
    headers: tuple[tuple[str, str], ...] = ()


_NO_SNAPSHOT_YET = _Page(
    b"nothing has been collected yet; ask again in a moment\n",
    _PLAIN,
    HTTPStatus.SERVICE_UNAVAILABLE,
    (("Retry-After", "5"),),
)
_METRICS_OFF = _Page(b"metrics are switched off by metric_config.enable\n", _PLAIN, HTTPStatus.NOT_FOUND)
_UNKNOWN = _Page(b"unknown path; there are /, /metrics and /status\n", _PLAIN, HTTPStatus.NOT_FOUND)


class HttpServer:
    """Serves the last published snapshot and the agent's status. A scrape does not start a collection.

    Listens on IPv4 and IPv6; each connection has its own thread. A client that hangs delays neither the others nor
    `close`. While `debug` is true, `/debug/...` is served too, to clients on this machine.
    """

    def __init__(self, port: int, status: Callable[[], str], *, metrics: bool = True) -> None:
        """Listen and serve; port 0 selects a free port. `status` returns the JSON of `/status`.

        Raises ListenError.
        """
        self._status = status
        self.debug = False
        self._debug_pages = DebugPages()
        self._exposition = Exposition() if metrics else None
        self._server = _listen(port, self._page)
        # Closing wakes the accepting thread, so its poll interval may be long.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(3600.0,), name=f"http :{self.port}", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._server.server_address[1])

    def publish(self, render: Callable[[], Iterable[bytes]]) -> None:
        """Answer `/metrics` with the output of `render` from now on. Two renderings never run at the same time."""
        if self._exposition is not None:
            self._exposition.publish(render)

    def switch_metrics(self, *, on: bool) -> None:
        """Make `/metrics` answer with what is published from now on, or say that metrics are switched off."""
        if on is not (self._exposition is not None):
            self._exposition = Exposition() if on else None

    def close(self) -> None:
        """Stop listening and cut every connection."""
        self._server.close()
        self._thread.join()

    def _page(self, request: _Request) -> _Page:
        match request.target.partition("?")[0]:
            case "/metrics":
                return self._metrics_page(request.coding)
            case "/status":
                return _Page(self._status().encode(), "application/json")
            case "/":
                return _Page(_INDEX, "text/html; charset=utf-8")
            case path if path.startswith("/debug/") and self.debug:
                status, text = self._debug_pages.answer(request.target, request.peer)
                return _Page(text.encode(), _PLAIN, status)
            case _:
                return _UNKNOWN

    def _metrics_page(self, coding: Coding) -> _Page:
        if self._exposition is None:
            return _METRICS_OFF
        if (body := self._exposition.answer(coding)) is None:
            return _NO_SNAPSHOT_YET
        encoded = () if coding is Coding.IDENTITY else (("Content-Encoding", coding.value),)
        return _Page(body, EXPOSITION, headers=(("Vary", "Accept-Encoding"), *encoded))


def _listen(port: int, page: Callable[[_Request], _Page]) -> _Server:
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
            "stop that process, or set metric_config.port to a free port"
        )
    return f"cannot listen on port {port}: {error.strerror}; set metric_config.port to another port"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    _MOST_CONNECTIONS = 64

    def __init__(self, family: socket.AddressFamily, host: str, port: int, page: Callable[[_Request], _Page]) -> None:
        self.address_family = family
        self.page = page
        self._connections: dict[socket.socket, None] = {}  # oldest first
        self._closed = False
        self._lock = threading.Lock()
        self._shortage = ShortageLog()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, object]:
        try:
            return super().get_request()
        except OSError as error:
            if is_shortage(error):
                self._shortage.note("connections to the HTTP port wait", error)
                self._make_room()
            raise  # for the base class, which goes on

    def _make_room(self) -> None:
        """Cut the oldest connection, and pause: a client that waits to be accepted would fail again at once."""
        with self._lock:
            for connection in [*self._connections][:1]:
                _cut(connection)
        time.sleep(_SHORTAGE_PAUSE_S)

    def enter(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections[connection] = None
            if self._closed:
                _cut(connection)
            elif len(self._connections) > self._MOST_CONNECTIONS:
                # Clients that hang could otherwise use all threads: cut the oldest.
                _cut(next(iter(self._connections)))

    def leave(self, connection: socket.socket) -> None:
        with self._lock:
            del self._connections[connection]

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the base's signature
        client_left = isinstance(sys.exception(), OSError)
        logger.log(
            logging.DEBUG if client_left else logging.ERROR,
            "cannot answer %s",
            client_address,
            exc_info=True,
        )

    def close(self) -> None:
        _cut(self.socket)  # wakes the accepting thread
        self.shutdown()
        self.server_close()
        with self._lock:
            self._closed = True
            for connection in self._connections:
                _cut(connection)


def _cut(connection: socket.socket) -> None:
    """Shut a connection down from another thread; the thread that uses it then closes it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        if error.errno != errno.ENOTCONN:  # the client has closed it already
            raise


class _Handler(BaseHTTPRequestHandler):
    """Handles one request: HTTP/1.0, so that no thread waits until the next scrape."""

    server: _Server
    server_version = f"otel-netagent/{__version__}"
    sys_version = ""
    disable_nagle_algorithm = True  # the body goes out at once behind the head

    def setup(self) -> None:
        super().setup()
        # With the kernel's timeout instead of Python's, a large answer is one call, during which other threads run.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SILENCE)
        self.server.enter(self.connection)

    def finish(self) -> None:
        self.server.leave(self.connection)
        super().finish()

    def handle(self) -> None:
        """Answer one request. The head is read here, within limits: the base class would read 6 MB of it."""
        try:
            head = read_head(self.connection)
        except HeadRefused as refusal:
            self._refuse(refusal)
            return
        self.rfile.close()
        self.rfile = io.BytesIO(head)
        self.handle_one_request()

    def _refuse(self, refusal: HeadRefused) -> None:
        self.requestline = self.request_version = self.command = ""
        self.send_error(refusal.status, explain=str(refusal))
        discard_rest(self.connection)

    def do_GET(self) -> None:
        self.wfile.write(self._answer())

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> bytes:
        """Send the head and return the body."""
        coding = Coding.accepted(self.headers.get("Accept-Encoding", ""))
        page = self.server.page(_Request(self.path, self.client_address[0], coding))
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        for name, value in page.headers:
            self.send_header(name, value)
        self.end_headers()
        return page.body

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
        """Requests are not logged."""
