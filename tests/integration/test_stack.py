"""`make stack`: everything at its usual port, and nothing left of it. In a namespace, where all ports are free."""

from __future__ import annotations

import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.agent.command import Program
from tests.integration.far_end import ARRIVAL_S
from tests.lab.namespace import Namespace
from tests.lab.waiting import eventually
from tools.stack.services import HOST, Ports

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("programs")]

_COMMAND = [sys.executable, "-m", "tools.stack"]


@pytest.fixture
def stack(netns: Namespace) -> Iterator[Program]:
    """The running command. It is told to end even if the test fails, since what it has started ends only with it."""
    with netns.run(Program, _COMMAND) as program:
        try:
            yield program
        finally:
            if program.process.poll() is None:
                program.stop()


def test_says_where_to_look_and_leaves_nothing(stack: Program, netns: Namespace) -> None:
    eventually(lambda: stack.process.poll() is not None or any("Ctrl-C" in line for line in stack.out), 2 * ARRIVAL_S)
    said = "\n".join(stack.out)
    (directory,) = map(Path, re.findall(r"(\S+)/\*\.log", said))
    assert directory.is_dir()
    urls = re.findall(r"^  .+  (http\S+)$", said, re.MULTILINE)
    assert len(urls) == 5
    for url in urls:
        assert netns.run(requests.get, url if url.endswith("/metrics") else f"{url}/metrics", timeout=ARRIVAL_S).ok
    for promql in re.findall(r"^  (\S+promtool query .+)$", said, re.MULTILINE):
        netns.command("sh", "-c", promql)

    began_ns = time.time_ns()
    with pytest.raises(ConnectionRefusedError), netns.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.connect((HOST, 9))
    (query,) = re.findall(r"'query=(.+)'$", said, re.MULTILINE)
    parameters: dict[str, str | int] = {"query": query, "start": began_ns}
    url = f"http://{HOST}:{Ports().loki}/loki/api/v1/query_range"

    def found() -> bool:
        try:
            return bool(netns.run(requests.get, url, parameters, timeout=ARRIVAL_S).json()["data"]["result"])
        except requests.ConnectionError:  # all end as soon as one has ended, of which the command tells
            return False

    stack.eventually(found)

    assert stack.stop(signal.SIGINT) == 0
    assert not directory.exists()
    assert _inhabitants(netns) == {netns.pid}


def test_taken_port_is_told_in_one_line(netns: Namespace) -> None:
    with netns.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind((HOST, Ports().prometheus))
        taken.listen()
        with netns.run(Program, _COMMAND) as stack:
            assert stack.wait() == 1
    assert stack.err == [
        "otel-netagent: ports are taken on 127.0.0.1: 9090 (prometheus); end what listens there, then try again"
    ]


def _inhabitants(namespace: Namespace) -> set[int]:
    """Processes whose network namespace it is."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            if each.stat().st_ino == namespace.inode:
                found.add(int(each.parts[2]))
        except FileNotFoundError:  # it has ended since
            continue
    return found
