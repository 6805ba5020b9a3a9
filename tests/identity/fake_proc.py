"""A procfs of the test's own, for containers that cannot be started here."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

HOST = 4026531833


@dataclass(frozen=True)
class FakeProc:
    """A directory that looks like `/proc` to the readers; PID 1 is in the namespace HOST."""

    root: Path

    def __post_init__(self) -> None:
        """Start PID 1."""
        self.start(1, HOST)

    def start(self, pid: int, netns: int, cgroup: str = "/", ticks: int | None = None) -> None:
        """Start a process, at so many ticks after boot (as many as its pid)."""
        process = self.root / str(pid)
        (process / "ns").mkdir(parents=True)
        (process / "ns" / "net").symlink_to(f"net:[{netns}]")
        (process / "cgroup").write_text(f"0::{cgroup}\n")
        started = pid if ticks is None else ticks
        (process / "stat").write_text(f"{pid} (process) S {' '.join('0' * 18)} {started} {' '.join('0' * 30)}\n")

    def end(self, *pids: int) -> None:
        """End processes."""
        for pid in pids:
            shutil.rmtree(self.root / str(pid))
