"""What the agent needs of the machine, checked before anything is started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from otel_netagent.probes import catalogue
from otel_netagent.probing.capability import Capability

OF_THE_AGENT: Final = frozenset({Capability.SYS_PTRACE})
"""To see in which namespaces and cgroups other processes are, and so which pod a namespace belongs to."""

_MAY_BE_MISSING: Final = frozenset({Capability.SYSLOG})
"""Sysctls may show addresses to all; where they do not, the probes that need them say so and the others run."""

_HOST_PID_NAMESPACE: Final = 0xEFFFFFFC
"""Inode number of the first PID namespace, in every kernel: PROC_PID_INIT_INO (include/linux/proc_ns.h, since 3.8)."""


def required_capabilities() -> frozenset[Capability]:
    """What the agent itself and the necessary probes need."""
    needed = (probe.capabilities for probe in catalogue().values() if probe.necessary)
    return OF_THE_AGENT.union(*needed) - _MAY_BE_MISSING


def missing_capabilities() -> str:
    """What keeps eBPF and the processes of others out of reach, in a line; empty if nothing does."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = int(status.partition("CapEff:")[2].split(maxsplit=1)[0], 16)
    if effective >> Capability.SYS_ADMIN & 1:  # as good as the others, and before Linux 5.8 the only one
        return ""
    missing = [str(each) for each in sorted(required_capabilities()) if not effective >> each & 1]
    if not missing:
        return ""
    return f"not permitted: {', '.join(missing)} missing; run it as root (sudo) or with these capabilities"


def limits_of_sight() -> Iterator[str]:
    """What lets the agent run, but see less than it should; a line each."""
    if Path("/proc/self/ns/pid").stat().st_ino != _HOST_PID_NAMESPACE:
        yield (
            "this is not the host's PID namespace: only processes in it are seen, and so hardly any pod; "
            "set `hostPID: true` in the pod's specification (of a container: `--pid=host`)"
        )
