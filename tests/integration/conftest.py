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
from tools.stack.loki import Loki
from tools.stack.programs import Programs, provide
from tools.stack.services import HOST, Ports, Stack
from tools.stack.victorialogs import VictoriaLogs

NewStack: TypeAlias = Callable[[str], Stack]

STORES = [VictoriaLogs.name, pytest.param(Loki.name, marks=pytest.mark.loki)]
"""What tests of events run with, one after the other: parameters of `far_end` and `stack`."""

_PROGRAMS = pytest.StashKey[Programs | NoToolchain]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip from here, and not from the fixture, so that one line tells it of all.

    In CI nothing is skipped but for want of a Loki, which this project does not build.
    """
    found = _obtained(item.config)
    if isinstance(found, NoToolchain):
        if "CI" not in os.environ:
            pytest.skip(f"the real collector and VictoriaLogs are not here and cannot be built: {found}")
    elif item.get_closest_marker("loki") and found.loki is None:
        pytest.skip("no loki in PATH: the tests against a real Loki are skipped")


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> Programs:
    """The real programs, built if this machine has Go and does not have them yet."""
    found = _obtained(pytestconfig)
    if isinstance(found, NoToolchain):
        raise found
    return found


@pytest.fixture(scope="session")
def new_stack(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> NewStack:
    """Describes a stack with this log store, and with ports and a directory that nobody else has."""

    def new(store: str) -> Stack:
        directory = tmp_path_factory.mktemp("stack")
        *ports, first, second = _free_ports(len(Ports.__slots__) + 2)
        if store == Loki.name:
            assert programs.loki is not None
            return Stack(programs, Ports(*ports), directory, Loki(programs.loki, directory, first, second))
        return Stack(programs, Ports(*ports), directory, VictoriaLogs(programs.victorialogs, directory, first))

    return new


@pytest.fixture
def stack(request: pytest.FixtureRequest, new_stack: NewStack) -> Stack:
    """A stack of this test's own, of which nothing runs; with VictoriaLogs, or as `STORES` says."""
    return new_stack(_store_of(request))


@pytest.fixture(scope="package")
def far_end(
    request: pytest.FixtureRequest, _root: None, new_stack: NewStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FarEnd]:
    """Everything running, the agent too; with VictoriaLogs, or as `STORES` says. Not to be broken."""
    with running(new_stack(_store_of(request)), tmp_path_factory.mktemp("agent")) as far_end:
        yield far_end


@contextlib.contextmanager
def running(stack: Stack, directory: Path, *files: str, **told: str) -> Iterator[FarEnd]:
    """A stack with the agent in front, whose numbers Prometheus scrapes too; the collector with these files."""
    with (
        stack.log_store.service() as log_store,
        stack.prometheus() as prometheus,
        stack.collector(*files, **told) as collector,
        _agent_of(stack, directory) as agent,
    ):
        yield FarEnd(stack, agent, collector, log_store, prometheus)


@contextlib.contextmanager
def _agent_of(stack: Stack, directory: Path) -> Iterator[Agent]:
    """The agent that sends to this stack, and serves where its Prometheus asks."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{stack.ports.otlp_grpc}",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.cluster.name=cluster-of-tests",
    }
    with Agent(directory, metric={"port": stack.ports.agent_metrics}, environ=environ) as agent:
        yield agent


def _store_of(request: pytest.FixtureRequest) -> str:
    store: str = getattr(request, "param", VictoriaLogs.name)
    return store


def _free_ports(count: int) -> set[int]:
    chosen = set[int]()
    while len(chosen) < count:
        chosen.add(free_port())
    return chosen


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
