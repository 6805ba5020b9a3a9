"""The same eyes as in tests/faults."""

from __future__ import annotations

from tests.faults.conftest import whole_observer

__all__ = ["whole_observer"]
