"""Where the kernel does not let it be done, procfs is read, and the status says why."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest

from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.namespaces import ProcfsWalk
from otel_netagent.model.probe_status import HookStatus, Refusal
from otel_netagent.probes import fd, io, tcpsummary
from otel_netagent.probing.declaration import Environment, Probe, WalkAccess
from otel_netagent.probing.reading import start_reader


def environment(kernel: KernelFacts | None) -> Environment:
    return Environment(kernel, "no BTF here", WalkAccess(ProcfsWalk()))


def refuse(_kernel: KernelFacts) -> str:
    raise BpfError("not today")


def test_the_kernel_comes_first(kernel: KernelFacts) -> None:
    reader = start_reader(environment(kernel), "numbers", "iter/task", lambda _: "kernel", lambda: "procfs")
    assert reader == ("kernel", HookStatus("numbers", "iter/task"))


@pytest.mark.parametrize(
    ("with_kernel", "in_kernel", "reason"),
    [
        (False, True, "no BTF here"),
        (True, False, "iterators need BTF in the kernel itself"),
        (True, True, "not today"),
    ],
)
def test_procfs_comes_next(kernel: KernelFacts, with_kernel: bool, in_kernel: bool, reason: str) -> None:
    facts = dataclasses.replace(kernel, source=dataclasses.replace(kernel.source, in_kernel=in_kernel))
    reader = start_reader(environment(facts if with_kernel else None), "numbers", "iter/task", refuse, lambda: "procfs")
    assert reader == ("procfs", HookStatus("numbers", "procfs", (Refusal("iter/task", reason),)))


@pytest.mark.parametrize("probe", [fd.PROBE, io.PROBE, tcpsummary.PROBE], ids=lambda probe: probe.name)
def test_each_probe_says_how_it_reads(kernel: KernelFacts, probe: Probe) -> None:
    with contextlib.closing(probe.start(environment(kernel))) as running:
        assert all(hook.way is not None and hook.way.startswith("iter/") for hook in running.hooks)
    with contextlib.closing(probe.start(environment(None))) as running:
        assert running.hooks[0].way == "procfs"


def test_what_procfs_does_not_tell_of_sockets_is_missed_without_the_kernel() -> None:
    with contextlib.closing(tcpsummary.PROBE.start(environment(None))) as running:
        missed = [hook.purpose for hook in running.hooks if hook.way is None]
    assert missed == ["limits of accept queues", "round-trip times"]
