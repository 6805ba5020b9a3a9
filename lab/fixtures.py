"""Fixtures of the laboratory, for all tests. Each makes its own namespaces, and deletes them in the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.links import Pair, Router, joined_by_router, joined_pair
from lab.namespace import Namespace
from lab.wire import Wire, wired


@pytest.fixture(scope="session")
def _root() -> None:
    assert os.geteuid() == 0, "the fault laboratory makes network namespaces: run its tests as root"


@pytest.fixture
def netns(_root: None) -> Iterator[Namespace]:
    """One namespace with its loopback up."""
    with Namespace() as namespace:
        yield namespace


@pytest.fixture
def pair(_root: None) -> Iterator[Pair]:
    """Two namespaces joined by a veth pair, with both families."""
    with joined_pair() as pair:
        yield pair


@pytest.fixture
def router(_root: None) -> Iterator[Router]:
    """Three namespaces in a row; the middle one forwards both families."""
    with joined_by_router() as router:
        yield router


@pytest.fixture
def wire(_root: None) -> Iterator[Wire]:
    """A namespace whose device ends at the test, which plays the other host packet by packet."""
    assert Path("/dev/net/tun").exists(), "the tests' wire is a tun device: load the kernel module tun"
    with wired() as wire:
        yield wire
