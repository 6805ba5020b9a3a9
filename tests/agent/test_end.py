"""The end of the agent: within two seconds, whatever hangs on it, and nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lab.namespace import NAMED_NAMESPACES
from lab.waiting import eventually
from tests.agent.command import NETAGENT, PATIENCE_S, Program
from tests.agent.kernel_objects import existing, held_by, orphans
from tests.agent.running import Agent, configuration
from tests.agent.watching import watching
from tests.outputs.otlp.receivers import HttpAnswer, grpc_receiver, hang, http_receiver
from tests.outputs.otlp.sending import dead_port

_MOST_S = 2.0
_BPF_FILES = Path("/sys/fs/bpf")

Situation = Callable[[Path], AbstractContextManager[Agent]]


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    """The kernel frees what a dead process had after a moment (an RCU grace period)."""
    pinned, unheld, names = _pinned(), orphans(), _named_namespaces()
    yield
    eventually(lambda: orphans() <= unheld, PATIENCE_S)
    assert _pinned() <= pinned
    assert _named_namespaces() <= names


@contextlib.contextmanager
def _undisturbed(directory: Path) -> Iterator[Agent]:
    with Agent(directory) as agent:
        yield agent


@contextlib.contextmanager
def _watched(directory: Path) -> Iterator[Agent]:
    with Agent(directory) as agent, watching(agent):
        yield agent


@contextlib.contextmanager
def _asked_by_a_client_that_hangs(directory: Path) -> Iterator[Agent]:
    with Agent(directory) as agent, socket.create_connection(("127.0.0.1", agent.http)) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        agent.scrape()  # connections are accepted in their order
        yield agent


@contextlib.contextmanager
def _reporting_to_a_dead_endpoint(directory: Path) -> Iterator[Agent]:
    with dead_port() as port, Agent(directory, environ=_otlp(port, "grpc")) as agent:
        agent.eventually(lambda: [line for line in agent.err if "is unavailable, retrying" in line])
        yield agent


@contextlib.contextmanager
def _reporting_to_a_hanging_endpoint_by_grpc(directory: Path) -> Iterator[Agent]:
    with grpc_receiver(hang, hang) as receiver, Agent(directory, environ=_otlp(receiver.port, "grpc")) as agent:
        agent.eventually(lambda: receiver.received)
        yield agent


@contextlib.contextmanager
def _reporting_to_a_hanging_endpoint_by_http(directory: Path) -> Iterator[Agent]:
    hangs = HttpAnswer(hangs=True)
    with (
        http_receiver(hangs, hangs) as receiver,
        Agent(directory, environ=_otlp(receiver.port, "http/protobuf")) as agent,
    ):
        agent.eventually(lambda: receiver.received)
        yield agent


_SITUATIONS = (
    _undisturbed,
    _watched,
    _asked_by_a_client_that_hangs,
    _reporting_to_a_dead_endpoint,
    _reporting_to_a_hanging_endpoint_by_grpc,
    _reporting_to_a_hanging_endpoint_by_http,
)


@pytest.mark.parametrize("situation", _SITUATIONS, ids=lambda each: each.__name__.strip("_"))
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_signal_ends_it(situation: Situation, number: signal.Signals, tmp_path: Path) -> None:
    with situation(tmp_path) as agent:
        held = held_by(agent.pid)
        assert {kind for kind, _ in held} == {"prog", "map", "link"}
        assert _processes(agent.pid) == {agent.pid}, "it starts no other process"
        _end_in_time(agent, number)
        eventually(lambda: not held & existing(), PATIENCE_S)


def _has_loaded_grpc(pid: int) -> bool:
    return "cygrpc" in Path(f"/proc/{pid}/maps").read_text()


def _has_programs(pid: int) -> bool:
    return bool(held_by(pid))


@pytest.mark.parametrize("moment", [_has_loaded_grpc, _has_programs], ids=lambda each: each.__name__.strip("_"))
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_signal_during_the_start(moment: Callable[[int], bool], number: signal.Signals, tmp_path: Path) -> None:
    with Program([NETAGENT, "run", "-c", str(configuration(tmp_path))]) as starting:
        starting.eventually(lambda: moment(starting.pid))
        _end_in_time(starting, number)


def test_kill_leaves_nothing_attached(tmp_path: Path) -> None:
    with _undisturbed(tmp_path) as agent:
        held = held_by(agent.pid)
        assert agent.stop(signal.SIGKILL) == -signal.SIGKILL
        eventually(lambda: not held & existing(), PATIENCE_S)


def _end_in_time(agent: Program, number: signal.Signals) -> None:
    began = _calm_seconds()
    assert agent.stop(number) == os.EX_OK, agent.err
    assert _calm_seconds() - began < _MOST_S
    assert not _processes(agent.pid)


def _calm_seconds() -> float:
    """A clock that stands still while anything on this machine waits for a CPU or a disk.

    On an idle machine it is as fast as any; a machine that is busy with other things makes the agent no slower by it.
    Source: Documentation/accounting/psi.rst, in microseconds; kernels without it only lack this grace.
    """
    stalled_us = 0
    for resource in ("cpu", "io"):
        with contextlib.suppress(OSError):
            some = Path(f"/proc/pressure/{resource}").read_text().partition("\n")[0]
            stalled_us += int(some.rpartition("total=")[2])
    return time.monotonic() - stalled_us / 1e6


def _otlp(port: int, protocol: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}


def _processes(session: int) -> set[int]:
    """Processes of a session, which is inherited (proc(5), /proc/PID/stat, field 6)."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((process / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                found.add(int(process.name))
    return found


def _pinned() -> set[Path]:
    return set(_BPF_FILES.rglob("*"))


def _named_namespaces() -> set[str]:
    with contextlib.suppress(FileNotFoundError):
        return {file.name for file in NAMED_NAMESPACES.iterdir()}
    return set()
