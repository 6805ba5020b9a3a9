"""`make stack`: the agent with the real collector, Prometheus and VictoriaLogs behind it, until Ctrl-C.

Where a `loki` is in PATH, it stands in the place of VictoriaLogs.

usage: python -m tools.stack [build]      (build: only see to it that the programs are there)
"""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from tools.stack.golang import BuildError
from tools.stack.log_store import LogStore
from tools.stack.loki import Loki
from tools.stack.programs import Programs, provide
from tools.stack.service import Service, ServiceError
from tools.stack.services import HOST, Ports, Stack
from tools.stack.victorialogs import VictoriaLogs

_NETAGENT = Path(sys.executable).with_name("otel-netagent")

_LOOK_S = 1.0
"""Pause between looks at whether all are still running."""


def main(arguments: Sequence[str]) -> int:
    """Run it, and return the exit code."""
    if arguments not in ([], ["build"]):
        return _fail("usage: python -m tools.stack [build]")
    try:
        programs = provide(_say)
        if arguments:
            return 0
        with tempfile.TemporaryDirectory(prefix="otel-netagent-stack-") as name:
            directory = Path(name)
            return _run(Stack(programs, Ports(), directory, _log_store(programs, directory)))
    except (BuildError, ServiceError) as error:
        return _fail(str(error))


class _Interrupted(Exception):
    """Somebody wants it to end."""


def _log_store(programs: Programs, directory: Path) -> LogStore:
    """The operator's own Loki before VictoriaLogs."""
    return Loki(programs.loki, directory) if programs.loki else VictoriaLogs(programs.victorialogs, directory)


def _run(stack: Stack) -> int:
    if taken := [f"{port} ({purpose})" for purpose, port in stack.taken_ports()]:
        return _fail(f"ports are taken on {HOST}: {', '.join(taken)}; end what listens there, then try again")
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())

    def pause(seconds: float) -> None:
        if interrupted.wait(seconds):
            raise _Interrupted

    with contextlib.ExitStack() as running:
        try:
            services = [stack.log_store.service(), stack.prometheus(), stack.collector(), _agent(stack)]
            _keep_running(services, stack, running, pause)
        except _Interrupted:
            _say("ending")
    return 0


def _keep_running(
    services: Sequence[Service], stack: Stack, running: contextlib.ExitStack, pause: Callable[[float], None]
) -> NoReturn:
    """Start them, and see to it that all run. Raises what `pause` raises, and ServiceError."""
    for service in services:
        _say(f"starting {service.name}")
        service.start(pause)
        running.callback(service.stop)
    print(_where_to_look(stack), flush=True)
    while True:
        pause(_LOOK_S)
        for service in services:
            if service.has_ended():
                raise ServiceError(f"{service.name} has ended:\n{service.last_lines()}")


def _agent(stack: Stack) -> Service:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{stack.ports.otlp_grpc}"}
    ready = f"http://{HOST}:{stack.ports.agent_metrics}/metrics"
    return Service("the agent", [str(_NETAGENT), "run"], environ, stack.directory / "agent.log", ready)


def _where_to_look(stack: Stack) -> str:
    promtool = f"{stack.programs.promtool} query instant {stack.prometheus_url}"
    store = stack.log_store
    return f"""
All are running. The agent's events and the programs' messages: {stack.directory}/*.log

  the agent's own metrics       http://{HOST}:{stack.ports.agent_metrics}/metrics
  the collector's exporter      http://{HOST}:{stack.ports.collector_metrics}/metrics
  the collector of itself       http://{HOST}:{stack.ports.collector_telemetry}/metrics
  Prometheus                    {stack.prometheus_url}
  {store.name:<28}  {store.url}

Ask for the rate of new connections, by all three ways (label job):
  {promtool} {shlex.quote("rate(inspector_pod_tcppassiveopens[1m])")}
Drops of the last minutes that are faults:
  {promtool} {shlex.quote("increase(inspector_pod_packetloss_abnormal[5m]) > 0")}
Make a fault (a closed port), and find it:
  curl -s http://{HOST}:9/
  curl -sG {store.query_url} --data-urlencode {shlex.quote(f"query={store.example}")}

Ctrl-C ends all, and deletes their data.
"""


def _say(text: str) -> None:
    print(f"otel-netagent: {text}", flush=True)


def _fail(text: str) -> int:
    print(f"otel-netagent: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
