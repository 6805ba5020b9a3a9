"""The programs behind the agent with the files of collector-config/, on loopback."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from tools.stack.log_store import LogStore
from tools.stack.programs import CONFIGURATION, Programs
from tools.stack.service import Service

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where all but the log store listens, on loopback. The defaults are those that each program is known by."""

    agent_metrics: int = 9102
    agent_events: int = 19102
    otlp_grpc: int = 4317
    otlp_http: int = 4318
    collector_metrics: int = 8889
    collector_telemetry: int = 8888
    collector_health: int = 13133
    gateway_peers: int = 4319
    prometheus: int = 9090

    def by_purpose(self) -> Mapping[str, int]:
        """Each by what it is for."""
        return {each.name.replace("_", " "): getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True)
class Stack:
    """What is run, where, and with its data in which directory."""

    programs: Programs
    ports: Ports
    directory: Path
    log_store: LogStore

    def taken_ports(self) -> Iterator[tuple[str, int]]:
        """Those that someone else listens at, by what they are for."""
        for purpose, port in {**self.ports.by_purpose(), **self.log_store.ports}.items():
            try:
                socket.create_server((HOST, port)).close()
            except OSError:
                yield purpose, port

    @property
    def prometheus_url(self) -> str:
        """Prometheus' address."""
        return f"http://{HOST}:{self.ports.prometheus}"

    @property
    def collector_environ(self) -> Mapping[str, str]:
        """What the collector's files ask the environment for."""
        ports = self.ports
        return {
            "LISTEN": HOST,
            "OTLP_GRPC_PORT": str(ports.otlp_grpc),
            "OTLP_HTTP_PORT": str(ports.otlp_http),
            "METRICS_PORT": str(ports.collector_metrics),
            "TELEMETRY_PORT": str(ports.collector_telemetry),
            "HEALTH_PORT": str(ports.collector_health),
            "PEERS_PORT": str(ports.gateway_peers),
            "QUEUE_DIRECTORY": str(self.directory / "collector"),
            "PROMETHEUS_REMOTE_WRITE_URL": f"{self.prometheus_url}/api/v1/write",
            **self.log_store.collector_environ,
        }

    def prometheus(self) -> Service:
        """Prometheus, not yet started."""
        argv = [
            str(self.programs.prometheus),
            f"--config.file={self._prometheus_file()}",
            f"--storage.tsdb.path={self.directory / 'prometheus'}",
            f"--web.listen-address={HOST}:{self.ports.prometheus}",
            "--web.enable-remote-write-receiver",
        ]
        return Service("Prometheus", argv, {}, self.directory / "prometheus.log", f"{self.prometheus_url}/-/ready")

    def collector(self, *files: str, **settings: str) -> Service:
        """The collector with these files of collector-config/ (agent.yaml) and more variables, not yet started.

        Those of the log store come on top.
        """
        names = (*(files or ("agent.yaml",)), *self.log_store.collector_files)
        configs = [f"--config={CONFIGURATION / name}" for name in names]
        argv = [str(self.programs.collector), *configs]
        ready = f"http://{HOST}:{self.ports.collector_health}/"
        environ = {**self.collector_environ, **settings}
        return Service("the collector", argv, environ, self.directory / "collector.log", ready)

    def _prometheus_file(self) -> Path:
        """Prometheus' file with these ports in the place of the usual ones: it cannot be configured otherwise."""
        text = (CONFIGURATION / "prometheus.yaml").read_text()
        for name in ("agent_metrics", "collector_metrics", "collector_telemetry"):
            usual, ours = getattr(Ports(), name), getattr(self.ports, name)
            text = text.replace(f"[{HOST}:{usual}]", f"[{HOST}:{ours}]")
        file = self.directory / "prometheus.yaml"
        file.write_text(text)
        shutil.copy(CONFIGURATION / "alerts.yaml", self.directory)
        return file
