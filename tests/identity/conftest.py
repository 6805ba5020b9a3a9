"""The node that the tests of the registry are about."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.identity.node import Node


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node.below(tmp_path)
