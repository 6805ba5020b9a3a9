"""A node whose processes, clock and cookies are the test's, and the registry over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from otel_netagent.identity import netns_processes as processes
from otel_netagent.identity.entity import Entity
from otel_netagent.identity.naming import EntityNaming
from otel_netagent.identity.registry import Registry
from otel_netagent.kernel.namespaces import Namespace
from tests.identity.fake_proc import FakeProc


@dataclass
class Clock:
    """Seconds that pass when the test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


@dataclass(frozen=True)
class Node:
    """A registry over a fake procfs, and all that the test may do to it."""

    proc: FakeProc
    clock: Clock
    registry: Registry

    @classmethod
    def below(cls, directory: Path, naming: EntityNaming | None = None) -> Self:
        """A node whose files are in this directory."""
        proc, clock = FakeProc(directory / "proc"), Clock()
        return cls(proc, clock, Registry(proc.root, directory / "netns", clock, naming))

    def update(self, cookies: Mapping[int, int] | None = None) -> dict[int, Entity]:
        """Update with what a walk would give: each namespace with its lowest pid, without cookies if none are given.

        Entities by inode.
        """
        entities = self.registry.update(walked(processes.by_netns(self.proc.root), cookies or {}))
        return {each.netns: each for each in entities.values()}

    def lookup(self, netns: int, cookie: int | None = None) -> Entity:
        """Look up the namespace of an event that has this cookie, or none."""
        return self.registry.lookup(netns, netns if cookie is None else cookie)


def walked(pids: Mapping[int, Sequence[int]], cookies: Mapping[int, int]) -> list[Namespace]:
    """What a walk gives where these processes are; an inode without a cookie stands for itself."""
    return [Namespace(inode, cookies.get(inode, inode), min(pids[inode]), ()) for inode in pids]
