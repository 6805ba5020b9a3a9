"""Loki, where the operator has one: it is under the AGPL, and this project neither builds nor fetches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tools.stack.programs import CONFIGURATION
from tools.stack.service import Service
from tools.stack.services import HOST


@dataclass(frozen=True, slots=True)
class Loki:
    """A LogStore. The defaults are the ports that it is known by; `options` come on top of its file."""

    program: Path
    directory: Path
    port: int = 3100
    grpc_port: int = 9095
    options: Sequence[str] = ()

    name: ClassVar = "Loki"
    collector_files: ClassVar = ()
    example: ClassVar = '{service_name="otel-netagent"} | event_name="netagent.tcpreset.nosock"'

    @property
    def ports(self) -> Mapping[str, int]:
        """One for everybody, and one between its parts."""
        return {"Loki": self.port, "Loki gRPC": self.grpc_port}

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"

    @property
    def push_address(self) -> str:
        """Its address."""
        return self.url

    @property
    def collector_environ(self) -> Mapping[str, str]:
        """What agent.yaml and gateway.yaml ask the environment for."""
        return {"LOKI_OTLP_URL": f"{self.url}/otlp"}

    @property
    def query_url(self) -> str:
        """For LogQL."""
        return f"{self.url}/loki/api/v1/query_range"

    @property
    def command(self) -> Sequence[str]:
        """It, with the file of collector-config/."""
        return [
            str(self.program),
            f"-config.file={CONFIGURATION / 'loki.yaml'}",
            "-config.expand-env=true",
            *self.options,
        ]

    @property
    def environ(self) -> Mapping[str, str]:
        """What its file asks the environment for."""
        return {
            "LOKI_LISTEN": HOST,
            "LOKI_PORT": str(self.port),
            "LOKI_GRPC_PORT": str(self.grpc_port),
            "LOKI_DIRECTORY": str(self.directory / "loki"),
        }

    def service(self) -> Service:
        """It, not yet started."""
        return Service(self.name, self.command, self.environ, self.directory / "loki.log", f"{self.url}/ready")
