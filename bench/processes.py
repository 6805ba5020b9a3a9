"""What processes and sockets cost to count: the probes fd, io and tcpsummary, each in the kernel and by procfs.

    .venv/bin/python -m bench.processes --namespaces 10 --processes 200 --descriptors 50 --sockets 20000

By procfs `tcpsummary` takes 20 ms for each namespace: give many namespaces only with patience.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import click

from bench.collecting import started
from bench.load import connections, idle_processes
from bench.measuring import cpu_cost, print_costs
from bench.needs import require_root
from bench.pods import pods
from otel_netagent.pipeline.kernel_access import KernelAccess, find_kernel_access

PROBES = ("fd", "io", "tcpsummary")


@click.command()
@click.option("--namespaces", default=10, show_default=True, help="Network namespaces to make.")
@click.option("--processes", default=200, show_default=True, help="Processes, spread over the namespaces.")
@click.option("--descriptors", default=50, show_default=True, help="Open descriptors of each process.")
@click.option("--sockets", default=20000, show_default=True, help="TCP sockets, in one of the namespaces.")
@click.option("--rounds", default=20, show_default=True, help="Measurements of each way.")
def main(namespaces: int, processes: int, descriptors: int, sockets: int, rounds: int) -> None:
    """Print what counting costs."""
    require_root("ip")
    with pods(namespaces) as made, contextlib.ExitStack() as stack:
        access = find_kernel_access()
        stack.callback(access.walk.walk.close)
        stack.enter_context(idle_processes(made, processes, descriptors))
        ways = _ways(access, stack)
        _print(ways, rounds, f"{namespaces} namespaces, {processes} processes of {descriptors} descriptors")
        stack.enter_context(connections(made[0], sockets // 2))
        _print(ways, rounds, f"the same, and {sockets} TCP sockets")


def _print(ways: dict[str, Callable[[], object]], rounds: int, what: str) -> None:
    print_costs(f"CPU of one collection: {what}", cpu_cost(ways, rounds), "fd, kernel")


def _ways(access: KernelAccess, stack: contextlib.ExitStack) -> dict[str, Callable[[], object]]:
    kinds = {"kernel": access, "procfs": KernelAccess(None, "not asked for", access.walk)}
    return {f"{name}, {way}": _collecting(name, kind, stack) for name in PROBES for way, kind in kinds.items()}


def _collecting(name: str, access: KernelAccess, stack: contextlib.ExitStack) -> Callable[[], object]:
    probe = started(name, access, stack)
    namespaces = access.walk.walk.take()
    return lambda: list(probe.collect(namespaces))


if __name__ == "__main__":
    main()
