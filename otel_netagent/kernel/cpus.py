"""Which processors this machine has (Documentation/admin-guide/cputopology.rst)."""

from __future__ import annotations

from pathlib import Path


def cpu_list(which: str) -> str:
    """The CPUs that are `online` or `present`, as `0-3,8`."""
    return Path(f"/sys/devices/system/cpu/{which}").read_text(encoding="ascii").strip()


def numbers(of_list: str) -> set[int]:
    """Numbers of the CPUs of a list."""
    cpus: set[int] = set()
    for part in of_list.split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus
