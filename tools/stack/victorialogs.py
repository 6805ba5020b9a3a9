"""VictoriaLogs, which the stack builds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tools.stack.service import Service
from tools.stack.services import HOST


@dataclass(frozen=True, slots=True)
class VictoriaLogs:
    """A LogStore. The default is the port that it is known by."""

    program: Path
    directory: Path
    port: int = 9428

    name: ClassVar = "VictoriaLogs"
    collector_files: ClassVar = ("victorialogs.yaml",)
    example: ClassVar = '{service.name="otel-netagent"} event_name:="netagent.tcpreset.nosock"'

    @property
    def ports(self) -> Mapping[str, int]:
        """One for everything."""
        return {"VictoriaLogs": self.port}

    @property
    def url(self) -> str:
        """Its address, with a page for queries at /select/vmui."""
        return f"http://{HOST}:{self.port}"

    @property
    def push_address(self) -> str:
        """Loki's API is below this path."""
        return f"{self.url}/insert"

    @property
    def collector_environ(self) -> Mapping[str, str]:
        """What victorialogs.yaml asks the environment for."""
        return {"VICTORIALOGS_OTLP_URL": f"{self.url}/insert/opentelemetry"}

    @property
    def query_url(self) -> str:
        """For LogsQL."""
        return f"{self.url}/select/logsql/query"

    def service(self) -> Service:
        """It, not yet started."""
        argv = [
            str(self.program),
            f"-storageDataPath={self.directory / 'victorialogs'}",
            f"-httpListenAddr={HOST}:{self.port}",
        ]
        return Service(self.name, argv, {}, self.directory / "victorialogs.log", f"{self.url}/health")
