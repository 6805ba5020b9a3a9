"""The far end: one for all tests that only look, and one of its own for those that break it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.agent.running import Agent, free_port
from tests.integration.far_end import FarEnd
from tools.stack.golang import NoToolchain
from tools.stack.programs import Programs, provide
from tools.stack.services import HOST, Ports, Stack

NewStack: TypeAlias = Callable[[], Stack]


_PROGRAMS = pytest.StashKey[Programs | NoToolchain]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip from here, and not from the fixture, so that one line tells it of all. In CI, nothing is skipped."""
    found = _obtained(item.config)
    if isinstance(found, NoToolchain) and "CI" not in os.environ:
        pytest.skip(f"the real collector and Loki are not here and cannot be built: {found}")


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> Programs:
    """The real programs, built if this machine has Go and does not have them yet."""
    found = _obtained(pytestconfig)
    if isinstance(found, NoToolchain):
        raise found
    return found


@pytest.fixture(scope="session")
def new_stack(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> NewStack:
    """Describes a stack with ports and a directory that nobody else has."""

    def new() -> Stack:
        return Stack(programs, _free_ports(), tmp_path_factory.mktemp("stack"))

    return new


@pytest.fixture
def stack(new_stack: NewStack) -> Stack:
    """A stack of this test's own, of which nothing runs."""
    return new_stack()


@pytest.fixture(scope="package")
def far_end(_root: None, new_stack: NewStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarEnd]:
    """Everything running, the agent too. Not to be broken."""
    with running(new_stack(), tmp_path_factory.mktemp("agent")) as far_end:
        yield far_end


@contextlib.contextmanager
def running(stack: Stack, directory: Path, *files: str, **told: str) -> Iterator[FarEnd]:
    """A stack with the agent in front, whose numbers Prometheus scrapes too; the collector with these files."""
    with (
        stack.loki() as loki,
        stack.prometheus() as prometheus,
        stack.collector(*files, **told) as collector,
        _agent_of(stack, directory) as agent,
    ):
        yield FarEnd(stack, agent, collector, loki, prometheus)


@contextlib.contextmanager
def _agent_of(stack: Stack, directory: Path) -> Iterator[Agent]:
    """The agent that sends to this stack, and serves where its Prometheus asks."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{stack.ports.otlp_grpc}",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.cluster.name=cluster-of-tests",
    }
    with Agent(directory, metric={"port": stack.ports.agent_metrics}, environ=environ) as agent:
        yield agent


def _free_ports() -> Ports:
    chosen = set[int]()
    while len(chosen) < len(Ports.__slots__):
        chosen.add(free_port())
    return Ports(*chosen)


def _obtained(config: pytest.Config) -> Programs | NoToolchain:
    """Once for all tests."""
    if _PROGRAMS not in config.stash:
        terminal = config.pluginmanager.getplugin("terminalreporter")
        assert isinstance(terminal, pytest.TerminalReporter)
        try:
            config.stash[_PROGRAMS] = provide(terminal.write_line)
        except NoToolchain as error:
            config.stash[_PROGRAMS] = error
    return config.stash[_PROGRAMS]
