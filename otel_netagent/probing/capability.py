"""The capabilities that probes need of Linux (capabilities(7)), on a kernel that knows CAP_BPF, 5.8 or newer."""

from __future__ import annotations

import enum
from typing import Final


class Capability(enum.IntEnum):
    """A capability, by its number (include/uapi/linux/capability.h)."""

    SYS_PTRACE = 19
    SYS_ADMIN = 21
    SYSLOG = 34
    PERFMON = 38
    BPF = 39

    def __str__(self) -> str:
        """As the kernel and a pod's specification call it, but that the latter leaves out `CAP_`."""
        return f"CAP_{self.name}"


EBPF: Final = (Capability.BPF, Capability.PERFMON)
"""To load programs, and to have them attached to tracepoints and read the kernel's memory."""

EBPF_AND_SYMBOLS: Final = (*EBPF, Capability.SYSLOG)
"""And to see addresses in /proc/kallsyms, which the sysctls kptr_restrict and perf_event_paranoid may show to all."""
