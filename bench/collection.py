"""What one collection costs, for a node with many pods: the kernel's pass against procfs, and all the way to the wire.

    .venv/bin/python -m bench.collection --namespaces 100

Each namespace has a process, loopback and one end of a veth pair, as a pod has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import click

from bench.collecting import collector_of, started
from bench.measuring import cpu_cost, print_costs
from bench.needs import require_root
from bench.pods import pods
from otel_netagent.kernel.namespaces import Namespace, NamespaceWalk, ProcfsWalk
from otel_netagent.outputs.content_coding import gzipped
from otel_netagent.outputs.http.prometheus import PrometheusText
from otel_netagent.outputs.otlp.attributes import agent_resource
from otel_netagent.outputs.otlp.metrics import MetricsEncoder
from otel_netagent.pipeline.kernel_access import KernelAccess, find_kernel_access
from otel_netagent.probes import catalogue
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import WalkAccess

MIB_PROBES = ("tcp", "tcpext", "udp")
PROBES = ("ip", "mib", "netdev", "sock", "conntrack", "qdisc", "softnet", "slab", "packetloss")


@click.command()
@click.option("--namespaces", default=100, show_default=True, help="Network namespaces to make.")
@click.option("--rounds", default=20, show_default=True, help="Measurements of each way.")
def main(namespaces: int, rounds: int) -> None:
    """Print what collecting costs."""
    require_root("ip")
    with pods(namespaces), contextlib.ExitStack() as stack:
        access = find_kernel_access()
        stack.callback(access.walk.walk.close)
        in_kernel, by_procfs = access.walk.walk, ProcfsWalk()
        ways = {
            "MIBs of three probes, kernel pass": _collecting(access, in_kernel, MIB_PROBES, stack),
            "MIBs of three probes, procfs": _collecting(access, by_procfs, MIB_PROBES, stack),
        }
        walked = in_kernel.take()
        for name in PROBES:
            try:
                ways[name] = _collecting(access, in_kernel, (name,), stack, walked)
            except Unavailable as reason:
                click.echo(f"{name} is left out, this kernel cannot run it: {reason}", err=True)
        found = len(in_kernel.take())
        costs = cpu_cost(ways, rounds)
        print_costs(f"CPU of one collection, {found} namespaces", costs, "MIBs of three probes, kernel pass")
        whole = cpu_cost(_whole(access, stack), rounds)
        print_costs(f"CPU of all that an interval does, {found} namespaces", whole, "collect the necessary probes")


def _collecting(
    access: KernelAccess,
    walk: NamespaceWalk,
    names: Sequence[str],
    stack: contextlib.ExitStack,
    walked: Sequence[Namespace] | None = None,
) -> Callable[[], object]:
    """Walk (unless `walked` is given) and read these probes."""
    probes = [started(name, replace(access, walk=WalkAccess(walk)), stack) for name in names]

    def collect() -> list[Any]:
        namespaces = walk.take() if walked is None else walked
        return [list(probe.collect(namespaces)) for probe in probes]

    return collect


def _whole(access: KernelAccess, stack: contextlib.ExitStack) -> dict[str, Callable[[], object]]:
    necessary = (name for name, probe in catalogue().items() if probe.necessary)
    collector = collector_of(necessary, access, stack)
    snapshot = collector.collect()
    text = PrometheusText("node")
    encoder = MetricsEncoder(agent_resource("node", kubernetes=False), "node")
    return {
        "collect the necessary probes": collector.collect,
        "Prometheus text, gzipped": lambda: gzipped(text.render(snapshot)),
        "OTLP to bytes": lambda: encoder.encode([snapshot]),
    }


if __name__ == "__main__":
    main()
