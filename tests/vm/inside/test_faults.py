"""Every fault of the laboratory, told by the same observer as what else is tried in here: it takes long to open."""

from tests.faults.test_faults import (
    test_on_loopback,
    test_on_pair,
    test_on_router,
    test_on_wire,
    test_quiet_on_pair,
    test_quiet_on_wire,
)

__all__ = [
    "test_on_loopback",
    "test_on_pair",
    "test_on_router",
    "test_on_wire",
    "test_quiet_on_pair",
    "test_quiet_on_wire",
]
