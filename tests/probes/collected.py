"""A probe of numbers only, started alone and collected when the test wants to know."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import pytest

from lab.namespace import Namespace
from otel_netagent.kernel.namespaces import NamespaceWalk, ProcfsWalk
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probing.declaration import Environment, Probe, RunningProbe, WalkAccess
from tests.tables import numbers


@dataclass(frozen=True, slots=True)
class Collected:
    """A running probe."""

    probe: RunningProbe
    walk: NamespaceWalk

    def rows(self) -> dict[int, dict[str, int]]:
        """Every value of every namespace, by its inode, now, by the series' name without `inspector_pod_`."""
        rows: dict[int, dict[str, int]] = {}
        namespaces = self.walk.take()
        inodes = {each.cookie: each.inode for each in namespaces}
        for table in numbers(self.probe.collect(namespaces)):
            names = [series.name.removeprefix("inspector_pod_") for series in table.series]
            for (cookie, _), row in table.rows.items():
                rows.setdefault(inodes[cookie], {}).update(zip(names, row, strict=True))
        return rows


def environment(access: KernelAccess) -> Environment:
    """What the running kernel lets a probe use."""
    return Environment(access.facts, access.no_kernel, access.walk)


def without_walk(access: KernelAccess) -> KernelAccess:
    """The same kernel where it does not let its namespaces be walked."""
    return dataclasses.replace(access, walk=WalkAccess(ProcfsWalk()))


@contextlib.contextmanager
def collected(probe: Probe, access: KernelAccess) -> Iterator[Collected]:
    """Run the probe for the time of the block."""
    with contextlib.closing(probe.start(environment(access))) as running:
        yield Collected(running, access.walk.walk)


def have_read(monkeypatch: pytest.MonkeyPatch, module: ModuleType, text: str) -> None:
    """Have the probe of a module read this text as the table of each namespace."""
    monkeypatch.setattr(module, "read_each", lambda namespaces, _table: [(each, text) for each in namespaces])


NO_REPORTS = """
table ip6 no_reports {
    chain output { type filter hook output priority 0; icmpv6 type mld2-listener-report drop; }
}
"""


def silence(namespace: Namespace) -> None:
    """Keep it from reporting its IPv6 multicast groups, which a host does more than once in its first seconds."""
    namespace.command("nft", "-f", "-", stdin=NO_REPORTS)


def changes(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What differs, and by how much."""
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}
