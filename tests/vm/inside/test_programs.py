"""Every program of every object, and every probe of the catalogue, on this kernel: what works, and by which way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import otel_netagent
from otel_netagent.kernel.bpf_object import BpfObject, ProgramRejected
from otel_netagent.pipeline.kernel_access import OBJECTS
from otel_netagent.probes import catalogue
from otel_netagent.telemetry.status import AgentStatus, ProbeState
from tests.faults.observer import Observer
from tests.vm.recorder import DIRECTORY
from tests.vm.report import PROGRAMS, STATUS


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


def _refusals(path: Path) -> Iterator[tuple[str, str]]:
    """Programs of an object that this kernel refuses to load or to attach, whether a probe would ask for them or not.

    Iterators are attached by the probes alone, which know what they visit; the tests' own kind has no place at all.
    """
    with BpfObject(path, ()) as unloaded:
        left = {name: unloaded.section(name) for name in unloaded.programs}
    while left:
        try:
            with BpfObject(path, left) as loaded:
                loaded.load()
                refused = dict(_refused_at_attach(loaded, left))
        except ProgramRejected as error:
            yield left.pop(error.program), error.reason
        else:
            yield from refused.items()
            return


def _refused_at_attach(loaded: BpfObject, sections: dict[str, str]) -> Iterator[tuple[str, str]]:
    for program, section in sections.items():
        if "/" in section and not section.startswith("iter"):
            try:
                loaded.attach(program).close()
            except ProgramRejected as error:
                yield section, error.reason
