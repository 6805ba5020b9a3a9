"""Processes: their ids, namespaces, cgroups, open files and start times."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from otel_netagent.kernel.proc.files import PROC, read_file
from otel_netagent.open_files import raise_shortage

_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def pids(proc: Path = PROC) -> list[int]:
    """Ids of all processes (thread-group leaders), in no order."""
    with os.scandir(proc) as entries:
        return [int(entry.name) for entry in entries if entry.name.isdecimal()]


def netns_of(pid: int, proc: Path = PROC) -> int | None:
    """Inode number of the network namespace that a process or thread is in.

    None if it is gone (a zombie has left its namespaces) or may not be looked at (CAP_SYS_PTRACE). Reads
    the link, which is less than half the cost of `stat` and opens nothing.
    """
    try:
        link = os.readlink(f"{proc}/{pid}/ns/net")  # noqa: PTH115 -- once a process: a Path would double the cost
    except OSError:
        return None
    return int(link[len("net:[") : -len("]")])


def host_netns(proc: Path = PROC) -> int | None:
    """Inode number of the host's network namespace: that of PID 1; the agent's own where PID 1 may not be looked at."""
    return netns_of(1, proc) or netns_of(os.getpid())


def cgroup_of(pid: int, proc: Path = PROC) -> str | None:
    """Text of `/proc/PID/cgroup`: a line `id:controllers:path` for each hierarchy (cgroups(7))."""
    return read_file(f"{proc}/{pid}/cgroup")


def open_files(pid: int, proc: Path = PROC) -> list[str] | None:
    """What each open descriptor of a process leads to, as the kernel writes it: `socket:[INODE]`, or a path.

    None if it is gone. A descriptor that is closed meanwhile is left out.
    """
    directory = f"{proc}/{pid}/fd"
    files = []
    try:
        for descriptor in os.listdir(directory):  # noqa: PTH208 -- as in netns_of
            with contextlib.suppress(FileNotFoundError):
                files.append(os.readlink(f"{directory}/{descriptor}"))  # noqa: PTH115 -- as in netns_of
    except OSError as error:
        raise_shortage(error)
        return None
    return files


def threads(pid: int, proc: Path = PROC) -> list[int]:
    """Ids of the threads of a process, its own among them; empty if it is gone."""
    try:
        return [int(name) for name in os.listdir(f"{proc}/{pid}/task")]  # noqa: PTH208 -- as in netns_of
    except OSError as error:
        raise_shortage(error)
        return []


def start_ticks(pid: int, proc: Path = PROC) -> int | None:
    """When a process started, in clock ticks since boot: exact, so fit to order processes by.

    Field 22 of `/proc/PID/stat` (proc_pid_stat(5)). Field 2 is the command in parentheses and may itself hold
    spaces and parentheses, so fields are counted from the last one.
    """
    text = read_file(f"{proc}/{pid}/stat")
    if not text:
        return None
    return int(text.rpartition(")")[2].split(None, 20)[19])


def unix_ns_of_ticks(ticks: int) -> int:
    """Unix time in ns of a moment in clock ticks since boot, to the tick (10 ms).

    By the offset of the two clocks now: the boot time in `/proc/stat` is in whole seconds.
    """
    return ticks * _NS_PER_TICK + time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def process_start_ns(pid: int, proc: Path = PROC) -> int | None:
    """Unix time in ns at which a process started, to the tick (10 ms); None if it is gone."""
    ticks = start_ticks(pid, proc)
    return None if ticks is None else unix_ns_of_ticks(ticks)
