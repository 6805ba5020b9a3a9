"""What the agent needs of the machine, looked at before anything is started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CAP_SYS_PTRACE, _CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF = 19, 21, 38, 39
_NAMES: Final = {_CAP_SYS_PTRACE: "CAP_SYS_PTRACE", _CAP_PERFMON: "CAP_PERFMON", _CAP_BPF: "CAP_BPF"}

_HOST_PID_NAMESPACE: Final = 0xEFFFFFFC
"""Inode number of the first PID namespace, in every kernel: PROC_PID_INIT_INO (include/linux/proc_ns.h, since 3.8)."""


def missing_capabilities() -> str:
    """What keeps eBPF and the processes of others out of reach, in a line; empty if nothing does."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = int(status.partition("CapEff:")[2].split(maxsplit=1)[0], 16)
    if effective >> _CAP_SYS_ADMIN & 1:
        return ""
    missing = [name for number, name in _NAMES.items() if not effective >> number & 1]
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
