"""Fixtures of the probes' tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from lab.namespace import Namespace
from otel_netagent.pipeline.kernel_access import KernelAccess, find_kernel_access
from tests.probes.reading import at_rest


@pytest.fixture(scope="session")
def access(_root: None) -> Iterator[KernelAccess]:
    """What this kernel lets the agent use."""
    access = find_kernel_access()
    with contextlib.closing(access.walk.walk):
        yield access


@pytest.fixture
def quiet(netns: Namespace) -> Namespace:
    """A namespace whose only process has started, and does nothing any more."""
    at_rest(netns.pid)
    return netns
