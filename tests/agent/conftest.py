"""One agent for all tests that only look."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agent.running import Agent


@pytest.fixture(scope="package", autouse=True)
def _as_root(_root: None) -> None:
    """Every test here needs it."""


@pytest.fixture(scope="package")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent with the defaults and no OTLP, that runs until the last of these tests."""
    with Agent(tmp_path_factory.mktemp("agent")) as agent:
        yield agent
