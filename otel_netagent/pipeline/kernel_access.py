"""What this kernel lets the agent use, found out at start, and what is unavailable, with the reason."""

from __future__ import annotations

import contextlib
import platform
from dataclasses import dataclass
from pathlib import Path

import otel_netagent
from otel_netagent.kernel.bpf.btf import BtfInvalid
from otel_netagent.kernel.bpf.btf_source import BtfNotFound
from otel_netagent.kernel.bpf.libbpf import BpfError, LibbpfMissing
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.namespaces import KernelWalk, ProcfsWalk
from otel_netagent.kernel.netns_cookies import NetnsCookies
from otel_netagent.model.probe_status import Refusal
from otel_netagent.probing.declaration import WalkAccess

OBJECTS = Path(otel_netagent.__file__).parent / "_bpf"
"""Where the build puts the compiled eBPF programs."""


@dataclass(frozen=True, slots=True)
class KernelAccess:
    """The kernel as probes get it. Without `facts` there is no eBPF here, for the reason `no_kernel`."""

    facts: KernelFacts | None
    no_kernel: str
    walk: WalkAccess

    @property
    def btf(self) -> str:
        """Path of the BTF in use; empty where there is none."""
        return str(self.facts.source.path) if self.facts else ""

    @property
    def release(self) -> str:
        """As `uname -r`."""
        return platform.release()


def find_kernel_access(objects: Path = OBJECTS, *, legacy: bool = False) -> KernelAccess:
    """Find out. Never fails: what is unavailable is left out, with its reason. `legacy`: as in find_types()."""
    try:
        facts = KernelFacts.find(objects, legacy=legacy)
    except (LibbpfMissing, BtfNotFound, BtfInvalid) as error:
        return KernelAccess(None, str(error), _procfs_walk(str(error)))
    try:
        return KernelAccess(facts, "", WalkAccess(KernelWalk(facts)))
    except BpfError as error:
        return KernelAccess(facts, "", _procfs_walk(str(error), facts))


def _procfs_walk(reason: str, facts: KernelFacts | None = None) -> WalkAccess:
    cookies = None
    if facts:
        with contextlib.suppress(BpfError):  # the probes say what keeps programs out
            cookies = NetnsCookies(facts)
    return WalkAccess(ProcfsWalk(cookies=cookies), (Refusal(KernelWalk.way, reason),))
