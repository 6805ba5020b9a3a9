"""Standard error that nobody reads: it costs its own lines, all of which are counted, and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Self

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from lab.sockets import close_with_reset
from lab.truth import Family
from tests.agent.closed_ports import closed_udp_port
from tests.agent.command import NETAGENT, NODE, Program
from tests.agent.running import Agent, Told, configuration
from tests.agent.stage import Stage, await_known, named_pair
from tests.outputs.otlp.receivers import Receiver, grpc_receiver

_END_S = 10.0
"""For what takes less than two seconds on an idle machine, and took forever."""

_EVERY_EVENT = {"probes": ["packetloss"], "events_per_second": 1_000_000}
_NUMBERS = {"probes": ["packetloss"]}
_AT_ONCE = 500


class _Silent(Agent):
    """An agent whose standard error is not what the test reads."""

    def __enter__(self) -> Self:
        """Wait until it has numbers to serve."""
        with contextlib.ExitStack() as undoing:
            undoing.push(self)
            self.eventually(self._serves)
            undoing.pop_all()
        return self

    def _serves(self) -> bool:
        try:
            return self.get("/metrics")[0] is HTTPStatus.OK
        except OSError:
            return False


@contextlib.contextmanager
def _observed(directory: Path, *, debugmode: bool = False) -> Iterator[tuple[Agent, Receiver, Stage]]:
    """An agent that emits each event as a line and to a healthy receiver, and where to make events."""
    with grpc_receiver() as receiver, named_pair() as stage:
        environ = {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"http://127.0.0.1:{receiver.port}"}
        with Agent(
            directory,
            metric=_NUMBERS,
            event=_EVERY_EVENT,
            delivery={"flush_seconds": 30},
            environ=environ,
            debugmode=debugmode,
        ) as agent:
            await_known(agent, stage)
            yield agent, receiver, stage


def test_reader_that_reads_gets_every_line(tmp_path: Path) -> None:
    """Of a burst that the queue can hold."""
    with _observed(tmp_path) as (agent, _, stage):
        for _ in range(10):
            closed_udp_port(stage, Family.IPV4, times=_AT_ONCE)
        emitted = _emitted(agent, stage)
        assert emitted > _AT_ONCE
        agent.eventually(lambda: len(_drops(agent, stage)) == emitted)
        assert _own(agent, "netagent_text_lost_total") == 0
        assert not _dropped_lines(agent)


def test_reader_that_stalls_costs_its_own_lines_only_and_each_is_counted(tmp_path: Path) -> None:
    with _observed(tmp_path) as (agent, receiver, stage):
        with agent.unread():
            _fill_standard_error(agent, stage)
            emitted = _emitted(agent, stage)
            agent.eventually(lambda: _received(receiver, stage.server) == emitted)
        agent.eventually(lambda: _dropped_lines(agent))
        agent.next_collection()
        lost = _own(agent, "netagent_text_lost_total")
        (notice,) = _dropped_lines(agent)
        assert f": dropped {lost:.0f} event lines and 0 log lines; " in notice
        assert agent.stop(within_s=60.0) == 0
        assert len([line for line in agent.err if Told.of(line)]) + lost == _received(receiver)
        assert not [line for line in agent.err if "type=" in line and not Told.of(line)], "a line is torn"


def test_log_lines_are_counted_too_and_the_agent_goes_over_to_another_configuration(tmp_path: Path) -> None:
    with _observed(tmp_path, debugmode=True) as (agent, _, stage):
        with agent.unread():
            _fill_standard_error(agent, stage)
            before = _own(agent, "netagent_log_lost_total")
            _hang_up_amid_a_request(agent)
            agent.eventually(lambda: _own(agent, "netagent_log_lost_total") > before)
            before = _own(agent, "netagent_log_lost_total")
            for number in range(1, 4):
                agent.process.send_signal(signal.SIGHUP)
                agent.eventually(lambda number=number: _own(agent, "netagent_log_lost_total") >= before + number)  # type: ignore[misc]
        agent.eventually(lambda: _dropped_lines(agent))
        agent.process.send_signal(signal.SIGHUP)
        agent.eventually(lambda: [line for line in agent.err if "configuration reloaded" in line])


def test_sigterm_ends_it_while_nobody_reads(tmp_path: Path) -> None:
    with _observed(tmp_path) as (agent, _, stage), agent.unread():
        _fill_standard_error(agent, stage)
        assert _seconds_to_end(agent) < _END_S


def test_it_starts_and_ends_while_nobody_reads(tmp_path: Path) -> None:
    """The pipe is full before the agent writes its first line."""
    with _full_pipe() as pipe:
        command = ("sh", "-c", f'exec "$0" "$@" 2>/proc/{os.getpid()}/fd/{pipe}', NETAGENT)
        with _Silent(tmp_path, metric=_NUMBERS, event=_EVERY_EVENT, command=command) as agent:
            assert _seconds_to_end(agent) < _END_S


def test_a_start_that_fails_ends_while_nobody_reads(tmp_path: Path) -> None:
    file = configuration(tmp_path, metric={"port": 0})
    with _full_pipe() as pipe:
        done = subprocess.run([NETAGENT, "run", "-c", file], stderr=pipe, timeout=_END_S * 2, check=False)
    assert done.returncode == 1


_NOWHERE = {
    "closed": 'exec "$0" "$@" 2>&-',
    "reader_gone": 'exec "$0" "$@" 2> >(:)',
    "disk_full": 'exec "$0" "$@" 2>/dev/full',
}


@pytest.mark.parametrize("redirection", _NOWHERE.values(), ids=_NOWHERE)
def test_standard_error_that_takes_nothing_stops_nothing(redirection: str, tmp_path: Path) -> None:
    command = ("bash", "-c", redirection, NETAGENT)
    with (
        grpc_receiver() as receiver,
        named_pair() as stage,
        _Silent(
            tmp_path,
            metric=_NUMBERS,
            event=_EVERY_EVENT,
            environ={"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"http://127.0.0.1:{receiver.port}"},
            command=command,
        ) as agent,
    ):
        await_known(agent, stage)
        closed_udp_port(stage, Family.IPV4, times=_AT_ONCE)
        emitted = _emitted(agent, stage)
        agent.eventually(lambda: _received(receiver, stage.server) == emitted > 0)
        agent.eventually(lambda: _own(agent, "netagent_text_lost_total") >= emitted)
        assert _own(agent, "netagent_log_lost_total") > 0
        assert _seconds_to_end(agent) < _END_S


def test_all_lines_of_the_start_and_the_end_are_there(tmp_path: Path) -> None:
    """What is said last, before the process ends, is not lost with it."""
    lines = [f"no_such_key_{number}: 1" for number in range(2_000)]
    file = tmp_path / "config.yaml"
    file.write_text("\n".join(lines))
    with Program([NETAGENT, "run", "-c", str(file)]) as program:
        assert program.wait() == 1
        assert [line.split(":")[2] for line in program.err] == [str(number + 1) for number in range(2_000)]


def _fill_standard_error(agent: Agent, stage: Stage) -> None:
    """Have the agent emit more lines than the pipe and its queue hold."""
    while not _own(agent, "netagent_text_lost_total"):
        for _ in range(10):
            closed_udp_port(stage, Family.IPV4, times=_AT_ONCE)
        agent.next_collection()


def _hang_up_amid_a_request(agent: Agent) -> None:
    """Which the agent logs, with `debugmode`."""
    client = socket.create_connection(("127.0.0.1", agent.http))
    client.sendall(b"GET /met")
    close_with_reset(client)


def _emitted(agent: Agent, stage: Stage) -> float:
    """Events of the stage so far, by the kernel's side."""
    outcomes = agent.next_collection().of(stage.server, "type", "outcome")
    return outcomes["netagent_events_total,PACKETLOSS,emitted"]


def _received(receiver: Receiver, pod: str | None = None) -> int:
    """Log records that came in; of one pod, or of all."""
    return sum(
        len(scope.log_records)
        for each in list(receiver.received)
        if isinstance(each.request, ExportLogsServiceRequest)
        for logs in each.request.resource_logs
        if pod in {None, *(attribute.value.string_value for attribute in logs.resource.attributes)}
        for scope in logs.scope_logs
    )


def _drops(agent: Agent, stage: Stage) -> list[Told]:
    """Lines of the stage's own drops."""
    return [told for told in agent.told(stage.server) if told.type == "PACKETLOSS"]


def _dropped_lines(agent: Agent) -> list[str]:
    return [line for line in agent.err if ": dropped " in line]


def _own(agent: Agent, name: str) -> float:
    """A number that the agent has of itself."""
    families = text_string_to_metric_families(agent.get("/metrics")[1].decode())
    (value,) = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and sample.labels == {"node": NODE}
    ]
    return value


def _seconds_to_end(agent: Agent) -> float:
    began = time.monotonic()
    agent.process.send_signal(signal.SIGTERM)
    assert agent.process.wait(timeout=30.0) == os.EX_OK
    return time.monotonic() - began


@contextlib.contextmanager
def _full_pipe() -> Iterator[int]:
    """The writing end of a pipe that has no room, and a reader that does nothing."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    try:
        yield writer
    finally:
        os.close(reader)
        os.close(writer)
