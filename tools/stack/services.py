"""The three programs with the files of collector-config/, on loopback."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from tools.stack.programs import CONFIGURATION, Programs
from tools.stack.service import Service

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens, all on loopback. The defaults are those that each program is known by."""

    agent_metrics: int = 9102
    agent_events: int = 19102
    otlp_grpc: int = 4317
    otlp_http: int = 4318
    collector_metrics: int = 8889
    collector_telemetry: int = 8888
    collector_health: int = 13133
    gateway_peers: int = 4319
    prometheus: int = 9090
    loki: int = 3100
    loki_grpc: int = 9095

    def taken(self) -> Iterator[tuple[str, int]]:
        """Those that someone else listens at, by what they are for."""
        for each in fields(self):
            port = getattr(self, each.name)
            try:
                socket.create_server((HOST, port)).close()
            except OSError:
                yield each.name.replace("_", " "), port


@dataclass(frozen=True, slots=True)
class Stack:
    """What is run, where, and with its data in which directory."""

    programs: Programs
    ports: Ports
    directory: Path

    @property
    def loki_url(self) -> str:
        """Loki's address."""
        return f"http://{HOST}:{self.ports.loki}"

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
            "LOKI_OTLP_URL": f"{self.loki_url}/otlp",
        }

    @property
    def loki_environ(self) -> Mapping[str, str]:
        """What Loki's file asks the environment for."""
        return {
            "LOKI_LISTEN": HOST,
            "LOKI_PORT": str(self.ports.loki),
            "LOKI_GRPC_PORT": str(self.ports.loki_grpc),
            "LOKI_DIRECTORY": str(self.directory / "loki"),
        }

    def loki(self) -> Service:
        """Loki, not yet started."""
        file = CONFIGURATION / "loki.yaml"
        argv = [str(self.programs.loki), f"-config.file={file}", "-config.expand-env=true"]
        return Service("Loki", argv, self.loki_environ, self.directory / "loki.log", f"{self.loki_url}/ready")

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

    def collector(self, *files: str, **told: str) -> Service:
        """The collector with these files of collector-config/ (agent.yaml) and more variables, not yet started."""
        configs = [f"--config={CONFIGURATION / name}" for name in files or ("agent.yaml",)]
        argv = [str(self.programs.collector), *configs]
        ready = f"http://{HOST}:{self.ports.collector_health}/"
        environ = {**self.collector_environ, **told}
        return Service("the collector", argv, environ, self.directory / "collector.log", ready)

    def _prometheus_file(self) -> Path:
        """Prometheus' file with these ports in the place of the usual ones: it has no way to be told them otherwise."""
        text = (CONFIGURATION / "prometheus.yaml").read_text()
        for name in ("agent_metrics", "collector_metrics", "collector_telemetry"):
            usual, ours = getattr(Ports(), name), getattr(self.ports, name)
            text = text.replace(f"[{HOST}:{usual}]", f"[{HOST}:{ours}]")
        file = self.directory / "prometheus.yaml"
        file.write_text(text)
        shutil.copy(CONFIGURATION / "alerts.yaml", self.directory)
        return file
