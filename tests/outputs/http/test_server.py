"""The HTTP server, asked over real sockets."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from otel_netagent.outputs.http.server import HttpServer, ListenError

EXPOSITION = b"# HELP a b\n# TYPE a counter\na 1\n" * 100


@contextmanager
def serving(*, metrics: bool = True) -> Iterator[HttpServer]:
    server = HttpServer(0, lambda: json.dumps({"version": "x"}), metrics=metrics)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with serving() as server:
        yield server


def ask(
    server: HttpServer, path: str, method: str = "GET", host: str = "127.0.0.1", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(host, server.port, timeout=5)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def hang(server: HttpServer, sent: bytes = b"GET /metr") -> socket.socket:
    """A client that begins a request and then says nothing."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    client.sendall(sent)
    return client


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_metrics_are_what_was_published_last(server: HttpServer, host: str) -> None:
    server.publish(lambda: [b"old 1\n"])
    server.publish(lambda: [EXPOSITION])
    response, body = ask(server, "/metrics", host=host)
    assert (response.status, body) == (200, EXPOSITION)
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.headers["Content-Length"] == str(len(EXPOSITION))


def test_scraper_that_prefers_openmetrics_gets_the_text_format_all_the_same(server: HttpServer) -> None:
    server.publish(lambda: [EXPOSITION])
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    response, body = ask(server, "/metrics?module=all", Accept=accept)
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert body == EXPOSITION


def test_before_the_first_snapshot_the_scraper_is_told_to_come_back(server: HttpServer) -> None:
    response, body = ask(server, "/metrics")
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0
    assert body.count(b"\n") == 1


def test_metrics_switched_off_say_by_what() -> None:
    with serving(metrics=False) as server:
        response, body = ask(server, "/metrics")
    assert response.status == 404
    assert b"metric_config.enable" in body


def test_gzip_for_who_takes_it(server: HttpServer) -> None:
    server.publish(lambda: [EXPOSITION[:100], EXPOSITION[100:]])
    plain, body = ask(server, "/metrics")
    assert (plain.headers["Content-Encoding"], body) == (None, EXPOSITION)
    packed, body = ask(server, "/metrics", Accept_Encoding="gzip")
    assert (packed.headers["Content-Encoding"], gzip.decompress(body)) == ("gzip", EXPOSITION)
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"


def test_head_is_the_head_of_get(server: HttpServer) -> None:
    server.publish(lambda: [EXPOSITION])
    response, body = ask(server, "/metrics", method="HEAD")
    assert (response.status, body) == (200, b"")
    assert response.headers["Content-Length"] == str(len(EXPOSITION))


def test_status_is_the_json_of_its_source(server: HttpServer) -> None:
    response, body = ask(server, "/status")
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == {"version": "x"}


def test_index_has_both_links_and_unknown_paths_name_the_known(server: HttpServer) -> None:
    _, index = ask(server, "/")
    assert b'href="/metrics"' in index
    assert b'href="/status"' in index
    response, body = ask(server, "/nope")
    assert (response.status, body) == (404, b"unknown path; there are /, /metrics and /status\n")


def test_port_in_use_is_one_clear_line(server: HttpServer) -> None:
    with pytest.raises(ListenError) as error:
        HttpServer(server.port, lambda: "{}")
    line = str(error.value)
    assert "\n" not in line
    assert f"port {server.port} is in use" in line
    assert "metric_config.port" in line


def test_node_without_ipv6_is_served_over_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    class SocketOfKernelWithoutIpv6(socket.socket):
        def __init__(self, family: int, *arguments: int) -> None:
            if family == socket.AF_INET6:
                raise OSError(97, "Address family not supported by protocol")
            super().__init__(family, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", SocketOfKernelWithoutIpv6)
        server = HttpServer(0, lambda: "{}")
    try:
        assert ask(server, "/status")[0].status == 200
    finally:
        server.close()


def test_hanging_clients_hold_up_neither_others_nor_the_end() -> None:
    with ExitStack() as stack:
        server = HttpServer(0, lambda: "{}")
        server.publish(lambda: [EXPOSITION])
        clients = [stack.enter_context(hang(server)) for _ in range(100)]
        assert ask(server, "/metrics")[1] == EXPOSITION
        started = time.monotonic()
        server.close()
        assert time.monotonic() - started < 1.0
        for client in clients:
            assert at_end(client)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5)


def at_end(client: socket.socket) -> bool:
    """Whether the server has ended the connection (a reset says so too)."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_client_that_reads_nothing_holds_up_nobody() -> None:
    with serving() as server:
        server.publish(lambda: [b"x" * 50_000_000])
        with hang(server, b"GET /metrics HTTP/1.0\r\n\r\n"):
            assert ask(server, "/status")[0].status == 200


def test_failure_of_ours_is_logged_and_the_next_request_answered(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> str:
        raise LookupError("a bug")

    server = HttpServer(0, broken)
    try:
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server, "/status")
        assert ask(server, "/")[0].status == 200
    finally:
        server.close()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_requests_leave_no_trace_on_standard_error(server: HttpServer, capfd: pytest.CaptureFixture[str]) -> None:
    ask(server, "/nope")
    with hang(server, b"rubbish\r\n\r\n") as client:
        assert b"400" in client.recv(4096)
    ask(server, "/metrics", method="POST")
    assert capfd.readouterr().err == ""
