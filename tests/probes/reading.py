"""A probe that runs alone, in each of its two ways, and is read when the test wants to know."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.namespace import Namespace
from lab.waiting import eventually
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.namespaces import ProcfsWalk
from otel_netagent.kernel.netns_cookies import NetnsCookies
from otel_netagent.model.table import Distribution
from otel_netagent.probing.declaration import Environment, Probe, RunningProbe, WalkAccess
from tests.tables import distributions, key_of, numbers

KERNEL = "kernel"
PROCFS = "procfs"
WAYS = (KERNEL, PROCFS)


def at_rest(pid: int) -> None:
    """Wait until a process has come to rest in read(), which is call 0."""
    eventually(lambda: Path(f"/proc/{pid}/syscall").read_text().startswith("0 "))


@dataclass(frozen=True, slots=True)
class Reading:
    """A running probe."""

    way: str
    probe: RunningProbe
    walk: ProcfsWalk

    def values(self, *namespaces: Namespace) -> dict[str, int]:
        """Every value of the only namespace, or of several added up, now; a series with labels as `name{a,b}`."""
        inodes = {namespace.inode for namespace in namespaces}
        values: dict[str, int] = {}
        walked = [each for each in self.walk.take() if each.inode in inodes]
        for table in numbers(self.probe.collect(walked)):
            for (_, labels), row in table.rows.items():
                suffix = "{" + ",".join(labels) + "}" if labels else ""
                for series, value in zip(table.series, row, strict=True):
                    name = series.name.removeprefix("inspector_pod_") + suffix
                    values[name] = values.get(name, 0) + value
        return values

    def distribution(self, namespace: Namespace, series: str) -> Distribution | None:
        """The histogram of a namespace now; None where it has no row."""
        walked = [each for each in self.walk.take() if each.inode == namespace.inode]
        return distributions(self.probe.collect(walked), key_of(namespace.inode, walked)).get(series)


@contextlib.contextmanager
def reading(probe: Probe, way: str, kernel: KernelFacts, cookies: NetnsCookies | None = None) -> Iterator[Reading]:
    """Run a probe for the time of the block, where these tell the cookies of namespaces, if any do."""
    walk = ProcfsWalk(cookies=cookies)
    facts = kernel if way == KERNEL else None
    environment = Environment(facts, "not asked for", WalkAccess(walk))
    with contextlib.closing(walk), contextlib.closing(probe.start(environment)) as running:
        yield Reading(way, running, walk)
