"""Where no file can be opened, everything goes on: nothing is taken for gone, damaged or changed, and it comes back."""

from __future__ import annotations

import errno
import os
import resource
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.waiting import eventually
from otel_netagent.agent.following import Follower
from otel_netagent.config.reading import read
from otel_netagent.identity import netns_names
from otel_netagent.identity.registry import Registry
from otel_netagent.kernel.proc import processes
from otel_netagent.open_files import ShortageLog, is_shortage, raise_limit, require
from otel_netagent.outputs.http.server import HttpServer
from otel_netagent.outputs.self_telemetry.agent_state import AgentState
from otel_netagent.outputs.self_telemetry.instruments import OBSERVABLES
from otel_netagent.outputs.sending.outbox import Outbox
from otel_netagent.outputs.sending.records import record_size
from otel_netagent.outputs.sending.request import EncodedRequest
from otel_netagent.outputs.sending.spool import Spool, SpoolPlace
from otel_netagent.outputs.text.line_queue import LineQueue
from tests.file_limit import no_file_left
from tests.outputs.sending.numbers import make_request

_ELSEWHERE = 4026599999
_REMEDY = "raise the limit of open files"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1_024, 4_096), (4_096, 4_096)),
        ((1_024, 1_048_576), (65_536, 1_048_576)),
        ((1_024, resource.RLIM_INFINITY), (65_536, resource.RLIM_INFINITY)),
        ((1_048_576, 1_048_576), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
        ((300, 300), None),
    ],
)
def test_soft_limit_goes_up_to_the_hard_one_but_not_far(
    monkeypatch: pytest.MonkeyPatch, before: tuple[int, int], after: tuple[int, int] | None
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: before)
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limit: limits.append(limit))
    raise_limit()
    assert limits == ([after] if after else [])


@pytest.mark.parametrize(
    "read_something",
    [
        lambda: processes.cgroup_of(os.getpid()),
        lambda: processes.start_ticks(os.getpid()),
        lambda: processes.open_files(os.getpid()),
        lambda: processes.threads(os.getpid()),
        lambda: netns_names.by_netns(Path("/run")),
        lambda: read(Path("/etc/passwd")),
    ],
)
def test_what_cannot_be_opened_now_is_not_taken_for_gone(
    read_something: Callable[[], object],
) -> None:
    with no_file_left(), pytest.raises(OSError, match="Too many open files") as error:
        read_something()
    assert is_shortage(error.value)
    read_something()


def test_namespace_of_an_event_goes_by_its_number_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry(clock=lambda: 0.0)
    with no_file_left():
        for _ in range(3):
            assert registry.lookup(_ELSEWHERE, _ELSEWHERE).pod == f"ns{_ELSEWHERE}"
    (line,) = caplog.messages
    assert line.startswith("events of new namespaces are emitted without the name of their pod: Too many open files; ")
    assert _REMEDY in line


def test_namespace_of_an_event_is_sought_as_soon_as_files_can_be_opened() -> None:
    registry = Registry(clock=lambda: 0.0)
    with subprocess.Popen(["unshare", "--net", "sleep", "60"]) as sleeper:
        try:
            here = processes.netns_of(os.getpid())
            netns = eventually(lambda: found if (found := processes.netns_of(sleeper.pid)) != here else None)
            assert netns
            with no_file_left():
                assert registry.lookup(netns, netns).start_ns == 0
            assert registry.lookup(netns, netns).start_ns > 0
        finally:
            sleeper.kill()


def test_http_server_waits_and_answers_when_it_can(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[None] = []
    accept = socketserver.TCPServer.get_request

    def counted(server: socketserver.TCPServer) -> tuple[socket.socket, object]:
        tries.append(None)
        return accept(server)

    monkeypatch.setattr(socketserver.TCPServer, "get_request", counted)
    server = HttpServer(0, lambda: "{}")
    try:
        with socket.socket() as client:
            client.settimeout(30)
            with no_file_left():
                client.connect(("127.0.0.1", server.port))
                client.sendall(b"GET /status HTTP/1.0\r\n\r\n")
                eventually(lambda: caplog.messages)
                tries.clear()
                time.sleep(0.5)
                assert len(tries) < 10, "it accepts without a pause"
            assert client.recv(4096).startswith(b"HTTP/1.0 200 ")
    finally:
        server.close()
    (line,) = caplog.messages
    assert line.startswith("connections to the HTTP port wait: Too many open files; ")
    assert _REMEDY in line


def test_http_server_cuts_the_oldest_connection_to_answer_another() -> None:
    server = HttpServer(0, lambda: "{}")
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as old, socket.socket() as client:
            old.sendall(b"GET")
            client.settimeout(8)  # before the time for the head of the old one is over
            eventually(lambda: [each for each in threading.enumerate() if "process_request" in each.name])
            with no_file_left():
                client.connect(("127.0.0.1", server.port))
                client.sendall(b"GET /status HTTP/1.0\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.0 200 ")
    finally:
        server.close()


def test_spool_that_cannot_be_opened_is_not_damaged_and_sent_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [make_request(number) for number in range(3)]
    damages: list[int] = []
    earlier = Spool(SpoolPlace(tmp_path, 1 << 20), damages.append)
    for each in requests:
        earlier.append(each)
    earlier.close()
    outbox = Outbox(1 << 20, lambda _cause, _request: None)
    outbox.use(Spool(SpoolPlace(tmp_path, 1 << 20), damages.append))
    taken: list[EncodedRequest | None] = []
    taker = threading.Thread(target=lambda: taken.append(outbox.take()))
    with no_file_left():
        taker.start()
        eventually(lambda: caplog.messages)
    taker.join()
    assert taken == requests[:1]
    assert not damages
    (line,) = caplog.messages
    assert line.startswith(f"requests in the spool {tmp_path} wait: Too many open files; ")
    outbox.close()


def test_spool_that_cannot_make_room_loses_nothing(tmp_path: Path) -> None:
    earlier = Spool(SpoolPlace(tmp_path, 1 << 20), lambda _: None)
    earlier.append(make_request(100))
    earlier.close()
    small = Spool(SpoolPlace(tmp_path, record_size(make_request(100)) + 1), lambda _: None)
    with no_file_left(), pytest.raises(OSError, match="Too many open files"):
        list(small.make_room(make_request(200)))
    assert list(small.make_room(make_request(200))) == [make_request(100)]
    small.close()


def test_memory_of_the_agent_is_left_out_where_it_cannot_be_read() -> None:
    (memory,) = [each for each in OBSERVABLES if each.name == "process.memory.usage"]
    with no_file_left():
        assert list(memory.points(AgentState())) == []
    assert list(memory.points(AgentState()))


@pytest.mark.parametrize("files_left", [0, 16])
def test_change_of_the_configuration_waits(
    files_left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded: list[int] = []

    class Recorder:
        def __init__(self, *_: object) -> None:
            """Start nothing."""

        def apply(self, config: object) -> None:
            loaded.append(config.metric.interval)  # type: ignore[attr-defined]

    monkeypatch.setattr("otel_netagent.agent.following.Agent", Recorder)
    file = tmp_path / "config.yaml"
    file.write_text("metric_config: {interval: 5}")
    follower = Follower(file, {}, LineQueue())
    stopping, asked = threading.Event(), threading.Event()
    following = threading.Thread(target=follower.follow, args=(stopping, asked))
    file.write_text("metric_config: {interval: 7}")
    following.start()
    try:
        with no_file_left(but=files_left):
            eventually(lambda: caplog.messages)
            assert not loaded
        eventually(lambda: loaded)
    finally:
        stopping.set()
        following.join()
    assert loaded == [7]
    (line,) = caplog.messages
    assert line.startswith("changes of the configuration wait: Too many open files; ")


def test_change_that_ran_short_of_files_is_made_once_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    class ShortOfFiles:
        def __init__(self, *_: object) -> None:
            """Start nothing."""

        def apply(self, config: object) -> None:
            tried.append(config.metric.interval)  # type: ignore[attr-defined]
            if len(tried) == 1:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("otel_netagent.agent.following.Agent", ShortOfFiles)
    file = tmp_path / "config.yaml"
    file.write_text("metric_config: {interval: 5}")
    follower = Follower(file, {}, LineQueue())
    stopping, asked = threading.Event(), threading.Event()
    following = threading.Thread(target=follower.follow, args=(stopping, asked))
    asked.set()
    following.start()
    try:
        eventually(lambda: len(tried) >= 2)
    finally:
        stopping.set()
        following.join()
    assert tried == [5, 5]


def test_what_cannot_be_had_in_full_is_not_begun() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    require(8)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 7, hard))
    try:
        require(1)
        with pytest.raises(OSError, match="Too many open files"):
            require(64)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert os.dup(0) == lowest
    os.close(lowest)


def test_shortage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    log = ShortageLog()
    for _ in range(3):
        log.note("nothing is done", OSError(errno.ENFILE, os.strerror(errno.ENFILE)))
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "nothing is done: Too many open files in system"
    ]
