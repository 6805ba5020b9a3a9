"""Every fault of the laboratory, as in tests/vm/inside."""

from tests.vm.inside.test_faults import (
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
