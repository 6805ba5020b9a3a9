"""Processes of each network namespace, by one scan of procfs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from otel_netagent.kernel.proc import files, processes


def by_netns(proc: Path = files.PROC) -> Mapping[int, Sequence[int]]:
    """Ids of the processes (thread-group leaders) in each network namespace, by its inode number.

    Processes that exit meanwhile, zombies, and processes without permission to read are left out. Costs 4 us a process.
    """
    found: defaultdict[int, list[int]] = defaultdict(list)
    for pid in processes.pids(proc):
        netns = processes.netns_of(pid, proc)
        if netns is not None:
            found[netns].append(pid)
    return dict(found)
