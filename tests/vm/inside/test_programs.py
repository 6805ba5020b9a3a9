"""Every program of every object, and every probe of the catalogue, on this kernel: what works, and by which way."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import otel_netagent
from otel_netagent.kernel.bpf.bpf_object import BpfObject, ProgramRejected
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.model.probe_status import ProbeState
from otel_netagent.outputs.http.status import AgentStatus
from otel_netagent.pipeline.kernel_access import OBJECTS
from otel_netagent.probes import catalogue
from tests.faults.observer import Observer
from tests.vm.recorder import DIRECTORY
from tests.vm.report import PROGRAMS, STATUS

_VERIFIED: Final = re.compile(r"^verified_insns:\t(\d+)$", re.MULTILINE)
_MOST: Final = 300_000


def test_every_object_loads_but_for_programs_that_the_table_names() -> None:
    paths = sorted(OBJECTS.glob("*.bpf.o"))
    refused = {f"{path.name.removesuffix('.bpf.o')}: {where}": why for path in paths for where, why in _refusals(path)}
    (DIRECTORY / PROGRAMS).write_text(json.dumps(refused), encoding="utf-8")
    assert paths


def test_every_probe_has_a_state_with_its_reason(whole_observer: Observer) -> None:
    access, statuses = whole_observer.access, whole_observer.probes.statuses
    status = AgentStatus(otel_netagent.__version__, "", access.release, access.btf, statuses, {})
    (DIRECTORY / STATUS).write_text(status.to_json(), encoding="utf-8")
    assert {each.name for each in statuses} == set(catalogue())
    assert [each.name for each in statuses if each.state is not ProbeState.RUNNING and not each.reason] == []


def test_every_probe_that_runs_collects(whole_observer: Observer) -> None:
    namespaces = whole_observer.access.walk.walk.take()
    assert namespaces
    for probe in whole_observer.probes.running.values():
        for _ in range(2):
            list(probe.collect(namespaces))


def test_no_program_in_use_brings_a_verifier_near_its_limit(whole_observer: Observer) -> None:
    """Which is a million instructions gone through, and then refusal. Kernels before 5.16 do not tell how many."""
    assert whole_observer.probes.running
    gone_through = [int(count) for each in _open_files() for count in _VERIFIED.findall(each)]
    assert all(count <= _MOST for count in gone_through), sorted(gone_through)[-5:]
    assert gone_through or not KernelFacts.find(OBJECTS).btf.has_member("bpf_prog_aux", "verified_insns")


def test_the_kernel_has_not_warned(whole_observer: Observer) -> None:
    """There are kernels that are told to die when they do (panic_on_warn)."""
    assert whole_observer.probes.running
    warned = 1 << 9  # Documentation/admin-guide/tainted-kernels.rst
    assert not int(Path("/proc/sys/kernel/tainted").read_text()) & warned


def _open_files() -> Iterator[str]:
    """What the kernel says of each file that this process has open (proc(5), /proc/PID/fdinfo)."""
    for path in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            yield path.read_text("ascii")


def _refusals(path: Path) -> Iterator[tuple[str, str]]:
    """Programs of an object that this kernel refuses to load or to attach, whether a probe would ask for them or not.

    Each alone. Only probes attach iterators, since they know what is to be visited.
    """
    with BpfObject(path, ()) as unloaded:
        sections = {name: unloaded.section(name) for name in unloaded.programs}
    for program, section in sections.items():
        try:
            with BpfObject(path, [program]) as alone:
                alone.load()
                if "/" in section and not section.startswith("iter"):
                    alone.attach(program)
        except ProgramRejected as error:
            yield section, error.reason
