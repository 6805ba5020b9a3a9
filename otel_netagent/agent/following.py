"""An agent that follows its configuration: whenever the file changes, and when it is asked to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from otel_netagent.agent.agent import Agent
from otel_netagent.agent.memory import give_back_what_is_between
from otel_netagent.agent.reload import REFUSALS
from otel_netagent.config.probe_selection import known_names
from otel_netagent.config.reading import ConfigError, Content
from otel_netagent.config.schema import Config
from otel_netagent.config.watching import LOOK_EVERY_S, Watch
from otel_netagent.open_files import ShortageLog, is_shortage, require
from otel_netagent.outputs.text.line_queue import LineQueue
from otel_netagent.pipeline.sources import RETRY_EVERY_S
from otel_netagent.probes import catalogue

logger = logging.getLogger(__name__)

_FILES_OF_A_START: Final = 64
"""How many files a reload may open: half of a change would be worse than a late one."""


class Follower:
    """The agent, and the file that it follows. A file that is rejected changes nothing."""

    def __init__(self, file: Path | None, environ: Mapping[str, str], standard_error: LineQueue) -> None:
        """Start with what the file says now. Raises ConfigError and whatever Agent does."""
        self._known = known_names(catalogue())
        self._shortage = ShortageLog()
        self._watch = Watch(file)
        self._agent = Agent(self._config(self._watch.content), environ, standard_error)

    def follow(self, stopping: threading.Event, asked: threading.Event) -> None:
        """Look at the file again and again until `stopping` is set, and reload it whenever `asked` is."""
        retry_due = time.monotonic() + RETRY_EVERY_S
        while not stopping.wait(LOOK_EVERY_S):
            try:
                self._look(asked)
            except OSError as error:
                if not is_shortage(error):
                    raise
                self._shortage.note("changes of the configuration wait", error)
            if time.monotonic() >= retry_due:
                self._agent.retry()
                give_back_what_is_between()
                retry_due = time.monotonic() + RETRY_EVERY_S

    def close(self) -> None:
        """End the agent."""
        self._agent.close()

    def _look(self, asked: threading.Event) -> None:
        """Load what is new, or asked for. Raises OSError where descriptors run out: `asked` stays set then."""
        content = self._watch.look_now() if asked.is_set() else self._watch.look()
        if content is not None:
            asked.set()
            require(_FILES_OF_A_START)
            self._load(content)
            asked.clear()

    def _config(self, content: Content) -> Config:
        """The configuration in the content; its warnings are logged here. Raises ConfigError."""
        parsed = content.parsed(self._known)
        for warning in parsed.warnings:
            logger.warning("%s", warning)
        return parsed.config

    def _load(self, content: Content) -> None:
        try:
            self._agent.apply(self._config(content))
        except (ConfigError, *REFUSALS) as error:
            for line in str(error).splitlines():
                logger.error("%s", line)  # noqa: TRY400 - the line says it all
            logger.error("%s is refused: the agent goes on with the configuration that it has", content)  # noqa: TRY400
