"""The same eyes as in tests/faults, opened when the modules are loaded that some probes look for at their start."""

from __future__ import annotations

import subprocess

import pytest

from tests.faults.conftest import limiting_kernel, observer, play, whole_observer

__all__ = ["limiting_kernel", "observer", "play", "whole_observer"]


@pytest.fixture(scope="session", autouse=True)
def _modules() -> None:
    subprocess.run(["modprobe", "--all", "nf_conntrack", "ip_vs", "ip_vs_rr"], check=True)
