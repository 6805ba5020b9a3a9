"""Requests with heads of many megabytes, at the HTTP port of a running agent."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.agent.running import Agent

_CONNECTIONS = 60
"""Of 64 that there may be: others have to be answered meanwhile."""

_HEAD = b"GET /metrics HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 65_000) for n in range(98)) + b"\r\n"

_MOST_BYTES = 32 << 20


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Agent]:
    with Agent(tmp_path) as agent:
        yield agent


def _status(port: int) -> int:
    """What is answered to the head: a client that cannot send all of it reads what has come."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(_HEAD)
        return int(client.recv(4096).split()[1])


def _memory(agent: Agent, which: str) -> int:
    """A line of /proc/PID/status, in bytes (proc_pid_status(5))."""
    found = re.search(rf"^{which}:\s+(\d+) kB$", Path(f"/proc/{agent.pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) << 10


def test_large_heads_take_no_memory_and_scrapes_go_on(asked: Agent) -> None:
    asked.next_collection()
    Path(f"/proc/{asked.pid}/clear_refs").write_text("5")  # the peak begins again (proc_pid_clear_refs(5))
    before = _memory(asked, "VmRSS")
    with (
        socket.create_connection(("127.0.0.1", asked.http), timeout=30) as slow,
        ThreadPoolExecutor(_CONNECTIONS) as clients,
    ):
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")
        answers = [clients.submit(_status, asked.http) for _ in range(_CONNECTIONS)]
        scrapes = 0
        while not all(each.done() for each in answers) or not scrapes:
            assert asked.get("/metrics")[0] is HTTPStatus.OK
            scrapes += 1
        assert {each.result() for each in answers} == {431}
        assert _memory(asked, "VmHWM") - before < _MOST_BYTES
        assert slow.recv(4096).startswith(b"HTTP/1.0 408 "), "ten seconds after its first line"
    asked.next_collection()
