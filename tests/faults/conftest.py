"""One observer for all faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.observer import Observer, observing


@pytest.fixture(scope="package")
def whole_observer(_root: None) -> Iterator[Observer]:
    with observing() as observer:
        yield observer


@pytest.fixture
def observer(whole_observer: Observer) -> Observer:
    """The observer, with nothing left of earlier tests."""
    whole_observer.events(())
    return whole_observer
