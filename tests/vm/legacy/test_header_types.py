"""Where there are headers and no BTF: types from the headers are the kernel's own, and the probes run by them."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

from lab.namespace import Namespace
from lab.waiting import eventually
from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.btf import STRUCT, UNION, Btf, Member
from otel_netagent.kernel.bpf.btf_source import BtfNotFound, BtfSource
from otel_netagent.kernel.bpf.header_types import CACHE, from_headers
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.model.probe_status import ProbeState
from otel_netagent.pipeline.kernel_access import OBJECTS
from tests.faults.observer import Observer
from tests.identity.reused import SEVERAL

_OWN: Final = BtfSource(Path("/run/own.btf"), in_kernel=False)
_MODULES: Final = Path("/lib/modules") / platform.release()
_HEADERS: Final = ("build", "source")

_KERNEL: Final = Path("/run/vm/modules").resolve().parents[2]
"""Where tests/vm/kernels.py has unpacked the kernel that runs; the others are beside it."""

_OF_USER_SPACE: Final = {"bpf_raw_tracepoint_args", "pt_regs"}
"""The same in all kernels, and so not asked for by CO-RE."""


@pytest.fixture
def other() -> Path:
    """A kernel that does not run, but whose headers are here."""
    unpacked = sorted(path.resolve() for path in _KERNEL.parents[1].glob("*/current"))
    return next(path for path in unpacked if path != _KERNEL and (path / "headers").is_dir())


@contextlib.contextmanager
def headers_of(kernel: Path | None) -> Iterator[None]:
    """Have the headers of another kernel in place of the right ones, or none."""
    kept = {name: (_MODULES / name).readlink() for name in _HEADERS}
    for name in _HEADERS:
        (_MODULES / name).unlink()
        if kernel:
            headers = kernel / "headers"
            target = (headers / "lib/modules" / kernel.name / name).readlink()
            (_MODULES / name).symlink_to(headers / target.relative_to("/"))
    try:
        yield
    finally:
        for name, target in kept.items():
            (_MODULES / name).unlink(missing_ok=True)
            (_MODULES / name).symlink_to(target)


def test_every_structure_is_laid_out_as_the_kernel_says() -> None:
    ours, own = Btf.load(from_headers()), Btf.load(_OWN)
    names = _read_without_iterators() & set(own.names(STRUCT)) - {""}  # what has no name cannot be found by it
    assert {"net", "sk_buff", "tcp_sock", "trace_event_raw_kfree_skb"} <= names
    assert {name: _laid_out(ours, name) for name in names} == {name: _laid_out(own, name) for name in names}


@pytest.mark.parametrize("enumeration", ["skb_drop_reason", "skb_drop_reason_subsys", "sk_rst_reason"])
def test_reasons_are_the_kernels(enumeration: str) -> None:
    assert Btf.load(from_headers()).enumerators(enumeration) == Btf.load(_OWN).enumerators(enumeration)


def test_they_are_compiled_once() -> None:
    first, again = from_headers().path, from_headers().path
    assert first == again
    assert list(CACHE.iterdir()) == [first]


def test_every_probe_runs(whole_observer: Observer) -> None:
    facts = whole_observer.access.facts
    assert facts is not None
    assert facts.custom_btf == from_headers().path
    lacking = {
        status.name: (status.state, status.reason)
        for status in whole_observer.probes.statuses
        if status.state is not ProbeState.RUNNING
    }
    states = {name: state for name, (state, _) in lacking.items()}
    assert states == {"tcpsummary": ProbeState.DEGRADED}, lacking  # procfs has not all of it


def _new_with_one_of(numbers: set[int], alive: contextlib.ExitStack) -> list[Namespace]:
    """A new namespace, if it got one of the numbers: a guest has nobody else who takes them."""
    with contextlib.ExitStack() as attempted:
        namespace = attempted.enter_context(Namespace())
        if namespace.inode in numbers:
            alive.push(attempted.pop_all())
            return [namespace]
    return []


def test_a_new_namespace_is_told_from_a_dead_one_of_its_number(whole_observer: Observer) -> None:
    walk = whole_observer.access.walk.walk
    with contextlib.ExitStack() as alive:
        made = {alive.enter_context(Namespace()).inode for _ in range(SEVERAL)}
        cookies = {each.inode: each.cookie for each in walk.take()}
    with contextlib.ExitStack() as alive:
        [new] = eventually(lambda: _new_with_one_of(made, alive), within_s=240.0)
        cookie = next(each.cookie for each in walk.take() if each.inode == new.inode)
        assert cookie != cookies[new.inode]


def test_headers_of_another_kernel_are_refused(tmp_path: Path, other: Path) -> None:
    with headers_of(other), pytest.raises(BtfNotFound, match="these are headers of another kernel"):
        from_headers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_headers_what_to_install_is_said(tmp_path: Path) -> None:
    with headers_of(None), pytest.raises(BtfNotFound, match=f"; install linux-headers-{platform.release()} "):
        from_headers(tmp_path)


def test_they_are_not_asked_for_in_secret() -> None:
    with pytest.raises(BtfNotFound, match="or set enable_legacy_version to true, which makes BTF from the kernel's"):
        KernelFacts.find(OBJECTS)


def _read_without_iterators() -> set[str]:
    """Names of the structures that are read by objects whose programs can do without BTF in the kernel."""
    names: set[str] = set()
    for path in OBJECTS.glob("*.bpf.o"):
        with BpfObject(path, ()) as unloaded:
            if not any(unloaded.section(program).startswith("iter") for program in unloaded.programs):
                names.update(name.partition("___")[0] for name in unloaded.btf.names(STRUCT))
    return names - _OF_USER_SPACE


def _laid_out(btf: Btf, structure: str) -> tuple[int, list[tuple[str, int]]] | None:
    """Size, and each member with its offset, those of anonymous parts too; None where there is no such structure."""
    try:
        size, members = btf.structure(structure)
    except KeyError:
        return None
    return size, list(_flat(btf, members, 0))


def _flat(btf: Btf, members: Iterable[Member], base: int) -> Iterator[tuple[str, int]]:
    for member in members:
        if not member.name and btf.kind_of(member.type_id) in (STRUCT, UNION):
            yield from _flat(btf, btf.members(btf.resolve(member.type_id)), base + member.offset)
        else:
            yield member.name, base + member.offset
