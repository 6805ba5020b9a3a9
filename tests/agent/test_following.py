"""The agent follows its file: what is good it gets, what is bad is said, and what failed is tried again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.waiting import eventually
from otel_netagent.agent import following
from otel_netagent.agent.following import Follower
from otel_netagent.config.reading import ConfigError
from otel_netagent.config.schema import Config
from otel_netagent.outputs.http.server import ListenError
from otel_netagent.outputs.text.line_queue import LineQueue


@dataclass
class MadeUpAgent:
    """Knows which configurations it was given; refuses ports below 1000."""

    config: Config
    environ: Mapping[str, str]
    applied: list[Config] = field(default_factory=list)
    retries: int = 0
    closed: bool = False

    def apply(self, config: Config) -> None:
        """Take it, or refuse."""
        if config.metric.port < 1000:
            raise ListenError("the port is taken")
        self.applied.append(config)

    def retry(self) -> None:
        """Count."""
        self.retries += 1

    def close(self) -> None:
        """End."""
        self.closed = True


@dataclass
class Followed:
    """A follower at work in a thread, its agent, its file, and how it is told to load it."""

    agent: MadeUpAgent
    file: Path
    asked: threading.Event

    def ports(self) -> list[int]:
        """What the agent was given since its start."""
        return [config.metric.port for config in self.agent.applied]


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Followed]:
    agents: list[MadeUpAgent] = []

    def make(config: Config, environ: Mapping[str, str], _: LineQueue) -> MadeUpAgent:
        agents.append(MadeUpAgent(config, environ))
        return agents[0]

    monkeypatch.setattr(following, "Agent", make)
    monkeypatch.setattr(following, "LOOK_EVERY_S", 0.01)
    file = tmp_path / "config.yaml"
    file.write_text("metric_config: {port: 1001}")
    follower, stopping, asked = Follower(file, {"NODE_NAME": "n"}, LineQueue()), threading.Event(), threading.Event()
    thread = threading.Thread(target=follower.follow, args=(stopping, asked))
    thread.start()
    yield Followed(agents[0], file, asked)
    stopping.set()
    thread.join()
    follower.close()
    assert agents[0].closed


def test_it_starts_with_what_the_file_says(followed: Followed) -> None:
    assert followed.agent.config.metric.port == 1001
    assert followed.agent.environ == {"NODE_NAME": "n"}


def test_every_change_reaches_the_agent_once(followed: Followed) -> None:
    def write(port: int) -> None:
        followed.file.write_text(f"metric_config: {{port: {port}}}")
        eventually(lambda: followed.ports()[-1:] == [port])

    for port in (1002, 1003, 1004):
        write(port)
    assert followed.ports() == [1002, 1003, 1004]


def test_what_is_refused_is_said_and_the_next_is_taken(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    followed.file.write_text("metric_config:\n  port: 0\n")
    eventually(lambda: len(caplog.messages) == 2)
    followed.file.write_text("metric_config: {port: 80}")
    eventually(lambda: len(caplog.messages) == 4)
    followed.file.write_text("metric_config: {port: 1002}")
    eventually(lambda: followed.ports() == [1002])
    refused = f"{followed.file} is refused: the agent goes on with the configuration that it has"
    assert caplog.messages == [
        f"{followed.file}:2: metric_config.port: 0 is not a whole number from 1 to 65535",
        refused,
        "the port is taken",
        refused,
    ]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


def test_whoever_asks_has_it_loaded_though_it_is_the_same(followed: Followed) -> None:
    followed.asked.set()
    eventually(lambda: followed.ports() == [1001])
    assert not followed.asked.is_set()


def test_what_is_unavailable_is_not_tried_again_at_each_look(followed: Followed) -> None:
    followed.asked.set()
    eventually(lambda: followed.ports() == [1001])
    assert followed.agent.retries == 0


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RETRY_EVERY_S", 0.01)


@pytest.mark.usefixtures("_impatient")
def test_what_is_unavailable_is_tried_again(followed: Followed) -> None:
    eventually(lambda: followed.agent.retries >= 2)


def test_a_bad_file_at_the_start_is_told_to_whoever_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml: cannot be read: No such file or directory"):
        Follower(tmp_path / "missing.yaml", {}, LineQueue())
