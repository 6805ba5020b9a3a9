"""What this kernel lets the agent use is found out, and what it does without has its reason."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from otel_netagent.kernel.bpf.btf import BtfInvalid
from otel_netagent.kernel.bpf.btf_source import BtfNotFound
from otel_netagent.kernel.bpf.libbpf import LibbpfMissing
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.pipeline.kernel_access import find_kernel_access


def test_the_walk_in_the_kernel_is_preferred() -> None:
    access = find_kernel_access()
    with contextlib.closing(access.walk.walk):
        assert access.facts is not None
        assert access.no_kernel == ""
        assert access.btf == str(access.facts.source.path)
        assert (access.walk.walk.way, access.walk.refused) == ("iter/task", ())
        assert access.walk.hook("counters").way == "iter/task"


def test_without_the_walks_object_procfs_is_walked(tmp_path: Path) -> None:
    access = find_kernel_access(tmp_path)
    assert access.facts is not None
    assert access.walk.walk.way == "procfs"
    (refusal,) = access.walk.refused
    assert refusal.way == "iter/task"
    assert refusal.reason == f"{tmp_path}/namespaces.bpf.o is missing: build it with `make bpf`"
    assert access.walk.hook("counters").refused == (refusal,)


@pytest.mark.parametrize("error", [LibbpfMissing, BtfNotFound, BtfInvalid])
def test_without_ebpf_procfs_is_walked_and_the_reason_told(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(_objects: Path, **_settings: bool) -> KernelFacts:
        raise error("what is missing, and what to do")

    monkeypatch.setattr(KernelFacts, "find", find)
    access = find_kernel_access()
    assert access.facts is None
    assert access.btf == ""
    assert access.no_kernel == access.walk.refused[0].reason == "what is missing, and what to do"
    assert access.walk.walk.way == "procfs"
    assert access.walk.walk.take()
