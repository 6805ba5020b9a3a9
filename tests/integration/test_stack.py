"""`make stack`: everything at its usual port, and nothing left of it.

It runs in a network namespace of its own, where all ports are free, and in a PID namespace of its own, where the agent
sees no more than itself: a machine with a thousand namespaces, of other tests, is too much for the collector.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from lab.namespace import Namespace
from tests.agent.command import Program
from tests.integration.log_queries import ARRIVAL_S
from tools.stack.service import END_S, START_S
from tools.stack.services import HOST, Ports

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("programs")]

_COMMAND = [sys.executable, "-m", "tools.stack"]
_ALONE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]

# The command gives each of its programs so much time, one after the other, and tells which of them has taken more.
_PROGRAMS = 4
_START_S, _END_S = _PROGRAMS * START_S + ARRIVAL_S, _PROGRAMS * END_S + ARRIVAL_S


@pytest.fixture
def stack(netns: Namespace, tmp_path: Path) -> Iterator[Program]:
    """The running command. With it ends its PID namespace, and all that it has started."""
    with netns.run(Program, [*_ALONE, *_COMMAND], {"TMPDIR": str(tmp_path)}) as program:
        yield program
        print(*program.out, *program.err, sep="\n")  # what pytest shows of a test that fails


def test_says_where_to_look_and_leaves_nothing(stack: Program, netns: Namespace) -> None:
    stack.eventually(lambda: any("Ctrl-C" in line for line in stack.out), _START_S)
    said = "\n".join(stack.out)
    (directory,) = map(Path, re.findall(r"(\S+)/\*\.log", said))
    assert directory.is_dir()
    _ask_as_it_says(said, netns)
    _make_a_fault_and_find_it(said, stack, netns)

    _press_ctrl_c(stack)
    assert stack.wait(_END_S) == 0
    assert not directory.exists()
    assert _inhabitants(netns) == {netns.pid}


def _ask_as_it_says(said: str, netns: Namespace) -> None:
    urls = re.findall(r"^  .+  (http\S+)$", said, re.MULTILINE)
    assert len(urls) == 5
    for url in urls:
        assert netns.run(requests.get, url if url.endswith("/metrics") else f"{url}/metrics", timeout=ARRIVAL_S).ok
    queries = re.findall(r"^  (\S+promtool query .+)$", said, re.MULTILINE)
    assert len(queries) == 2
    for query in queries:
        netns.command("sh", "-c", query)


def _make_a_fault_and_find_it(said: str, stack: Program, netns: Namespace) -> None:
    began_ns = time.time_ns()
    with pytest.raises(ConnectionRefusedError), netns.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.connect((HOST, 9))
    (command,) = re.findall(r"^  (curl .+--data-urlencode .+)$", said, re.MULTILINE)
    *_, url, _, query = shlex.split(command)
    parameters: dict[str, str | int] = {"query": query.removeprefix("query="), "start": began_ns}

    def found() -> bool:
        try:
            answer = netns.run(requests.get, url, parameters, timeout=ARRIVAL_S)
        except requests.ConnectionError:  # all end as soon as one has ended, of which the command tells
            return False
        return answer.ok and "netagent.tcpreset.nosock" in answer.text

    stack.eventually(found, ARRIVAL_S)


@pytest.fixture
def with_a_loki(tmp_path: Path) -> Mapping[str, str]:
    """A PATH in which there is a `loki`, which never comes to serve."""
    loki = tmp_path / "loki"
    loki.write_text("#!/bin/sh\nexec sleep infinity\n")
    loki.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_operators_loki_is_started_and_ctrl_c_is_heeded_meanwhile(
    netns: Namespace, with_a_loki: Mapping[str, str]
) -> None:
    with netns.run(Program, [*_ALONE, *_COMMAND], with_a_loki) as stack:
        stack.eventually(lambda: "otel-netagent: starting Loki" in stack.out)
        _press_ctrl_c(stack)
        assert stack.wait(_END_S) == 0
    assert stack.out == ["otel-netagent: starting Loki", "otel-netagent: ending"]
    assert _inhabitants(netns) == {netns.pid}


def test_taken_port_is_told_in_one_line(netns: Namespace) -> None:
    with netns.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind((HOST, Ports().prometheus))
        taken.listen()
        with netns.run(Program, [*_ALONE, *_COMMAND]) as stack:
            assert stack.wait() == 1
    assert stack.err == [
        "otel-netagent: ports are taken on 127.0.0.1: 9090 (prometheus); end what listens there, then try again"
    ]


def test_ports_are_those_of_the_log_store_that_is_run(netns: Namespace, with_a_loki: Mapping[str, str]) -> None:
    with netns.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind((HOST, 3100))
        taken.listen()
        with netns.run(Program, [*_ALONE, *_COMMAND], with_a_loki) as stack:
            assert stack.wait() == 1
    assert [line for line in stack.err if "on 127.0.0.1: 3100 (Loki); " in line]


def test_cache_that_cannot_be_is_told_in_one_line() -> None:
    with Program([*_COMMAND, "build"], {"XDG_CACHE_HOME": "/proc/none"}) as stack:
        assert stack.wait() == 1
    assert stack.err == [
        "otel-netagent: the programs cannot be kept in /proc/none/otel-netagent/stack: No such file or directory; "
        "let XDG_CACHE_HOME name a directory that can be written to and has room for them"
    ]


def _press_ctrl_c(stack: Program) -> None:
    """The command is the child of what has made its PID namespace."""
    (command,) = Path(f"/proc/{stack.pid}/task/{stack.pid}/children").read_text().split()
    os.kill(int(command), signal.SIGINT)


def _inhabitants(namespace: Namespace) -> set[int]:
    """Processes whose network namespace it is."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            if each.stat().st_ino == namespace.inode:
                found.add(int(each.parts[2]))
        except (FileNotFoundError, ProcessLookupError):  # it has ended since
            continue
    return found
