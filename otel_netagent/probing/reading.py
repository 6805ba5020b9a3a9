"""Numbers from an iterator in the kernel, or from procfs, for more CPU time, where there is no iterator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.model.probe_status import HookStatus, Refusal
from otel_netagent.probing.declaration import Environment

PROCFS: Final = "procfs"

_ReaderT = TypeVar("_ReaderT")


def start_reader(
    environment: Environment,
    purpose: str,
    way: str,
    in_kernel: Callable[[KernelFacts], _ReaderT],
    by_procfs: Callable[[], _ReaderT],
) -> tuple[_ReaderT, HookStatus]:
    """The reader `in_kernel`, which raises BpfError where this kernel rejects it; then the one `by_procfs`.

    `way` is the attach method of the first, as statuses show it; `purpose` what is read.
    """
    kernel = environment.kernel
    if kernel is None:
        reason = environment.no_kernel
    elif not kernel.source.in_kernel:
        reason = "iterators need BTF in the kernel itself"
    else:
        try:
            return in_kernel(kernel), HookStatus(purpose, way)
        except BpfError as error:
            reason = str(error)
    return by_procfs(), HookStatus(purpose, PROCFS, (Refusal(way, reason),))
