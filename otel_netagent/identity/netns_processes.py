"""Processes of each network namespace, by one scan of procfs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from otel_netagent.kernel.proc import procfs


def by_netns(proc: Path = procfs.PROC) -> Mapping[int, Sequence[int]]:
    """Ids of the processes (thread-group leaders) in each network namespace, by its inode number.

    Processes that exit meanwhile, zombies, and those that may not be looked at are left out. Costs 4 us a
    process.
    """
    processes: defaultdict[int, list[int]] = defaultdict(list)
    for pid in procfs.pids(proc):
        netns = procfs.netns_of(pid, proc)
        if netns is not None:
            processes[netns].append(pid)
    return dict(processes)
