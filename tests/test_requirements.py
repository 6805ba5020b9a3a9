"""What the lock files hold: the agent's own needs, and none that are only somebody's."""

from __future__ import annotations

import re
from pathlib import Path

_LOCK_FILES = Path(__file__).parent.parent / "requirements"


def locked(name: str) -> set[str]:
    """EntityNames of the packages of a lock file."""
    return set(re.findall(r"^([a-z0-9-]+)==", (_LOCK_FILES / name).read_text(), re.MULTILINE))


def test_the_agent_does_without_what_extras_and_tests_need() -> None:
    extras = {"kubernetes", "opentelemetry-instrumentation", "requests"}
    assert extras <= locked("dev.txt")
    assert extras.isdisjoint(locked("run.txt"))
