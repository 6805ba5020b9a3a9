"""Cgroups of the test's own, of whatever version the machine has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def new_cgroup(path: str) -> Iterator[Path]:
    """Make a cgroup of this path below one that is the test's own; its processes must have ended at the end."""
    top = _hierarchy() / f"netagent-test-{os.getpid()}"
    cgroup = top / path
    cgroup.mkdir(parents=True)
    try:
        yield cgroup
    finally:
        while cgroup != top.parent:
            cgroup.rmdir()
            cgroup = cgroup.parent


def move(pid: int, cgroup: Path) -> None:
    """Move a process into a cgroup."""
    (cgroup / "cgroup.procs").write_text(str(pid))


def _hierarchy() -> Path:
    """Where a hierarchy is mounted: that of version 2, else one of version 1 that needs no setting up."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    places = {kind: Path(place) for _, place, kind, options, *_ in mounts if kind == "cgroup2" or "pids" in options}
    return places.get("cgroup2") or places["cgroup"]
