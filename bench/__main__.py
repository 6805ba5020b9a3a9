"""What the agent costs as a node grows, in one table: CPU of a collection, in the kernel and by procfs, and memory.

    .venv/bin/python -m bench

Every probe is on that this kernel lets run. The ratio is of those that have both ways; procfs can be had for the rest
only by waiting: the sockets of 1,000 namespaces would take it half a minute.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from bench.collecting import collector_of
from bench.load import connections, idle_processes
from bench.measuring import Cost, cpu_cost
from bench.needs import require_root
from bench.pods import pods
from lab.namespace import Namespace
from otel_netagent.kernel.namespaces import ProcfsWalk
from otel_netagent.outputs.content_coding import gzipped
from otel_netagent.outputs.http.prometheus import PrometheusText
from otel_netagent.pipeline.kernel_access import KernelAccess, find_kernel_access
from otel_netagent.probes import catalogue
from otel_netagent.probing.declaration import WalkAccess
from tests.agent.running import Agent

_ROUNDS: Final = 15
_BOTH_WAYS: Final = frozenset({"tcp", "tcpext", "udp", "ip", "mib", "sock", "conntrack", "fd", "io"})
_RSS: Final = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)

ALL, RENDERED, IN_KERNEL, BY_PROCFS = "all probes", "rendered", "in the kernel", "by procfs"


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is measured, by what it has."""

    namespaces: int
    descriptors: int = 0
    sockets: int = 0

    def __str__(self) -> str:
        """A row's head."""
        more = ((self.descriptors, "descriptors"), (self.sockets, "sockets"))
        return ", ".join([f"{self.namespaces:,} namespaces", *(f"{count:,} {what}" for count, what in more if count)])

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """Make it for the time of the block."""
        with pods(self.namespaces) as namespaces, self._processes(namespaces), self._connections(namespaces):
            yield

    def _processes(self, namespaces: Sequence[Namespace]) -> contextlib.AbstractContextManager[None]:
        if not self.descriptors:
            return contextlib.nullcontext()
        return idle_processes(namespaces, self.descriptors // 50, 50)

    def _connections(self, namespaces: Sequence[Namespace]) -> contextlib.AbstractContextManager[None]:
        return connections(namespaces[0], self.sockets // 2) if self.sockets else contextlib.nullcontext()


NODES: Final = (Node(10), Node(110), Node(1_000), Node(10, descriptors=10_000), Node(10, sockets=20_000))


@click.command()
@click.option("--rounds", default=_ROUNDS, show_default=True, help="Measurements of each way.")
def main(rounds: int) -> None:
    """Print what the agent costs."""
    require_root("ip")
    table = Table(title=f"Median of {rounds} collections; CPU in milliseconds", title_justify="left")
    table.add_column("node")
    both_ways = f"{len(_BOTH_WAYS)} probes {IN_KERNEL}"
    for column in (ALL, "and rendered", both_ways, BY_PROCFS, "ratio", "agent's RSS, MB"):
        table.add_column(column, justify="right")
    for node in NODES:
        with node.made():
            table.add_row(str(node), *_figures(_costs(rounds)), f"{_agent_rss() / 1e6:.0f}")
    Console(width=140).print(table)


def _figures(costs: dict[str, Cost]) -> Iterator[str]:
    yield f"{costs[ALL].median:.1f}"
    yield f"{costs[ALL].median + costs[RENDERED].median:.1f}"
    yield f"{costs[IN_KERNEL].median:.2f}"
    yield f"{costs[BY_PROCFS].median:.1f}"
    yield f"{costs[BY_PROCFS].median / costs[IN_KERNEL].median:.0f}"


def _costs(rounds: int) -> dict[str, Cost]:
    with contextlib.ExitStack() as stack:
        access = find_kernel_access()
        stack.callback(access.walk.walk.close)
        procfs = KernelAccess(None, "not asked for", WalkAccess(ProcfsWalk()))
        everything = collector_of(catalogue(), access, stack)
        snapshot = everything.collect()
        text = PrometheusText("node")
        ways: dict[str, Callable[[], object]] = {
            ALL: everything.collect,
            RENDERED: lambda: gzipped(text.render(snapshot)),
            IN_KERNEL: collector_of(_BOTH_WAYS, access, stack).collect,
            BY_PROCFS: collector_of(_BOTH_WAYS, procfs, stack).collect,
        }
        return cpu_cost(ways, rounds)


def _agent_rss() -> int:
    """Memory of the agent itself, in bytes, when it has collected and been scraped some times; without OTLP."""
    metric = {"probes": sorted(name for name, probe in catalogue().items() if probe.series)}
    with tempfile.TemporaryDirectory() as directory, Agent(Path(directory), metric=metric) as agent:
        for _ in range(3):
            agent.next_collection()
        (kilobytes,) = _RSS.findall(Path(f"/proc/{agent.pid}/status").read_text(encoding="ascii"))
        return int(kilobytes) * 1024


if __name__ == "__main__":
    main()
