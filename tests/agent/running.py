"""The agent running, as its users see it: its lines, its ports, its answers."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from otel_netagent.model.probe_status import ProbeStatus
from otel_netagent.outputs.http.status import AgentStatus
from tests.agent.command import INSPECTOR, NETAGENT, Program
from tests.agent.exposition import Exposition

_BELOW_EPHEMERAL = range(20_000, 32_000)
"""Ports that the kernel gives to nobody by itself (ip_local_port_range, ip(7))."""

_EVENT = re.compile(r"type=(\S+) pod=(\S+) namespace=(\S+) (.*)")
_STACK = re.compile(r"  stacktrace:[\w.]+\+0x[0-9A-F]+( [\w.]+\+0x[0-9A-F]+)*")


@dataclass(frozen=True, slots=True)
class Told:
    """An event as its line tells it, the kernel's stack apart."""

    pod: str
    type: str
    body: str

    @property
    def is_routine(self) -> bool:
        """A report of multicast listening (RFC 3810, 5.2.14): sent when an interface comes up, and may be dropped."""
        return " daddr=ff02::16 " in self.body

    @classmethod
    def of(cls, line: str) -> Self | None:
        """Read a line; None if it is none of an event."""
        event = _EVENT.fullmatch(line)
        if event is None:
            return None
        return cls(event[2], event[1], _STACK.sub("", event[4]))


def free_port() -> int:
    """A port that nobody listens at."""
    while True:
        port = random.SystemRandom().choice(_BELOW_EPHEMERAL)
        try:
            socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True).close()
        except OSError:
            continue
        return port


def configuration(
    directory: Path,
    metric: Mapping[str, Any] | None = None,
    event: Mapping[str, Any] | None = None,
    *,
    delivery: Mapping[str, Any] | None = None,
    legacy: bool = False,
    debugmode: bool = False,
) -> Path:
    """A file with these settings, and beside them a collection each second, free ports and a spool of its own."""
    sections = {
        "debugmode": debugmode,
        "enable_legacy_version": legacy,
        "metric_config": {"port": free_port(), "interval": 1, **(metric or {})},
        "event_config": {"port": free_port(), **(event or {})},
        "delivery": {"spool_directory": str(directory / "spool"), **(delivery or {})},
    }
    file = directory / "config.yaml"
    file.write_text(json.dumps(sections, indent=1))
    return file


class Agent(Program):
    """`otel-netagent run`; within the `with` block, it serves."""

    def __init__(
        self,
        directory: Path,
        *,
        metric: Mapping[str, Any] | None = None,
        event: Mapping[str, Any] | None = None,
        delivery: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = (NETAGENT,),
        legacy: bool = False,
        debugmode: bool = False,
    ) -> None:
        """Start it, by way of this command, with these settings and variables beside the usual ones."""
        file = configuration(directory, metric, event, delivery=delivery, legacy=legacy, debugmode=debugmode)
        sections = json.loads(file.read_text())
        self.http, self.grpc = (int(sections[name]["port"]) for name in ("metric_config", "event_config"))
        super().__init__([*command, "run", "-c", str(file)], environ)

    def __enter__(self) -> Self:
        """Wait until it has told where it serves, and has numbers to serve."""
        try:
            self.eventually(lambda: [line for line in self.err if f"events over gRPC on port {self.grpc}" in line])
            self.eventually(lambda: self.get("/metrics")[0] is HTTPStatus.OK)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def get(self, path: str) -> tuple[HTTPStatus, bytes]:
        """What its HTTP port answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}") as answer:
                return HTTPStatus(answer.status), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return HTTPStatus(error.code), error.read()

    def cpu_seconds(self) -> float:
        """User and system time so far (proc(5), /proc/PID/stat, fields 14 and 15)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def scrape(self) -> Exposition:
        """The values that `/metrics` has now."""
        return Exposition.parse(self.get("/metrics")[1].decode())

    def next_collection(self) -> Exposition:
        """Values collected after this call."""
        now_ms = time.time_ns() // 1_000_000
        text = self.eventually(lambda: self._metrics_after(now_ms))
        return Exposition.parse(text)

    def _metrics_after(self, time_ms: int) -> str | None:
        text = self.get("/metrics")[1].decode()
        return text if Exposition.time_ms_of(text) > time_ms else None

    def probes(self) -> Mapping[str, ProbeStatus]:
        """What has become of its probes, as it says itself."""
        return {probe.name: probe for probe in AgentStatus.from_json(self.get("/status")[1]).probes}

    def event_lines(self, pods: Collection[str]) -> list[str]:
        """Lines of events so far that happened to these, sorted; without what the kernel itself sends and drops."""
        return sorted(line for line in self.err if (told := Told.of(line)) and told.pod in pods and not told.is_routine)

    def told(self, pod: str) -> list[Told]:
        """Events of one pod so far, routine too."""
        return [told for line in self.err if (told := Told.of(line)) and told.pod == pod]

    def inspect(self, *arguments: str, port: int) -> str:
        """What an `inspector` that asks this agent prints."""
        with Program([INSPECTOR, *arguments, "-e", f"127.0.0.1:{port}"]) as inspector:
            assert inspector.wait() == 0, inspector.err
            return "\n".join(inspector.out)
