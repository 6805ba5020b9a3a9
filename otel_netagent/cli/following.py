"""An agent that follows its configuration: whenever the file changes, and when it is asked to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from otel_netagent.agent import Agent
from otel_netagent.cli.memory import give_back_what_is_between
from otel_netagent.config.reading import ConfigError, Content
from otel_netagent.config.schema import Config
from otel_netagent.config.watching import LOOK_EVERY_S, Watch
from otel_netagent.pipeline.probe_set import known_names
from otel_netagent.pipeline.sources import RETRY_EVERY_S
from otel_netagent.probes import catalogue
from otel_netagent.telemetry.http_server import ListenError
from otel_netagent.telemetry.line_queue import LineQueue
from otel_netagent.telemetry.loki.address import LokiAddressError
from otel_netagent.telemetry.otlp.environment import OtlpConfigError
from otel_netagent.telemetry.stream.service import EventPortError

logger = logging.getLogger(__name__)


class Follower:
    """The agent, and the file that it follows. A file that is refused changes nothing."""

    def __init__(self, file: Path | None, environ: Mapping[str, str], standard_error: LineQueue) -> None:
        """Start with what the file says now. Raises ConfigError and whatever Agent does."""
        self._known = known_names(catalogue())
        self._watch = Watch(file)
        self._agent = Agent(self._config(self._watch.content), environ, standard_error)

    def follow(self, stopping: threading.Event, asked: threading.Event) -> None:
        """Look at the file again and again until `stopping` is set, and load it anew whenever `asked` is."""
        retry_due = time.monotonic() + RETRY_EVERY_S
        while not stopping.wait(LOOK_EVERY_S):
            content = self._watch.look()
            if asked.is_set():
                asked.clear()
                self._load(self._watch.look_now())
            elif content is not None:
                self._load(content)
            if time.monotonic() >= retry_due:
                self._agent.retry()
                give_back_what_is_between()
                retry_due = time.monotonic() + RETRY_EVERY_S

    def close(self) -> None:
        """End the agent."""
        self._agent.close()

    def _config(self, content: Content) -> Config:
        """What the content says; what it asks for in vain is said here. Raises ConfigError."""
        parsed = content.parsed(self._known)
        for warning in parsed.warnings:
            logger.warning("%s", warning)
        return parsed.config

    def _load(self, content: Content) -> None:
        try:
            self._agent.apply(self._config(content))
        except (ConfigError, ListenError, EventPortError, LokiAddressError, OtlpConfigError) as error:
            for line in str(error).splitlines():
                logger.error("%s", line)  # noqa: TRY400 - the line says it all
            logger.error("%s is refused: the agent goes on with the configuration that it has", content)  # noqa: TRY400
