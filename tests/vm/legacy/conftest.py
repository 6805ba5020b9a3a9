"""The same eyes as in tests/vm/inside."""

from tests.vm.inside.conftest import _modules, limiting_kernel, observer, play, whole_observer

__all__ = ["_modules", "limiting_kernel", "observer", "play", "whole_observer"]
