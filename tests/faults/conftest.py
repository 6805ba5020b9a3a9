"""One observer for all faults, and the making of a fault on the kernel that runs here."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

import pytest

from lab.limits import Kernel, limits
from lab.scenario import Scenario
from lab.truth import Family, Truth
from tests.faults.observer import Observer, observing

Stage = TypeVar("Stage")
Record: TypeAlias = Callable[[str, object], None]
Play: TypeAlias = Callable[[Scenario[Stage], Stage, Family], Truth]


@pytest.fixture(scope="package")
def whole_observer(_root: None) -> Iterator[Observer]:
    with observing() as observer:
        yield observer


@pytest.fixture(scope="session")
def limiting_kernel(_root: None) -> Kernel:
    return Kernel.running()


@pytest.fixture
def observer(whole_observer: Observer) -> Observer:
    """The observer, with nothing left of earlier tests."""
    whole_observer.events(())
    return whole_observer


@pytest.fixture
def play(limiting_kernel: Kernel, record_property: Record) -> Play[Stage]:
    """Makes a fault, and gives as much of its truth as this kernel can tell; the test's report has the limits."""

    def played(scenario: Scenario[Stage], stage: Stage, family: Family) -> Truth:
        concerned = list(limits(limiting_kernel, scenario.name, family))
        for limit in concerned:
            if not limit.played:
                record_property("limit", limit.why)
                with pytest.raises(subprocess.CalledProcessError):
                    scenario.play(stage, family)
                return Truth()
        truth = scenario.play(stage, family)
        for limit in concerned:
            left = limit.instead(limiting_kernel, truth)
            if left != truth:
                record_property("limit", limit.why)
            truth = left
        return truth

    return played
