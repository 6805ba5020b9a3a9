"""Starts every probe and has it collect: `python -m tests.probes.starts`, to be run with some capabilities only.

Prints a JSON object: for each probe the ways in which it is attached, or a text where it is refused.
"""

from __future__ import annotations

import contextlib
import json

from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.kallsyms import SymbolsUnreadable
from otel_netagent.pipeline.kernel_access import KernelAccess, find_kernel_access
from otel_netagent.probes import catalogue
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment, Probe


def _ways(probe: Probe, access: KernelAccess) -> list[str | None] | str:
    try:
        running = probe.start(Environment(access.facts, access.no_kernel, access.walk))
    except (Unavailable, BpfError, SymbolsUnreadable) as error:
        return str(error)
    with contextlib.closing(running):
        list(running.collect(access.walk.walk.take()))
        return [hook.way for hook in running.hooks]


if __name__ == "__main__":
    found = find_kernel_access()
    print(json.dumps({name: _ways(probe, found) for name, probe in catalogue().items()}))
