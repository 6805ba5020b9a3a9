"""What processes and sockets cost to count: the probes fd, io and tcpsummary, each in the kernel and by procfs.

    .venv/bin/python -m bench.processes --namespaces 10 --processes 200 --descriptors 50 --sockets 20000

By procfs `tcpsummary` takes 20 ms for each namespace: give many namespaces only with patience.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence

import click

from bench.measuring import cpu_cost, print_costs
from bench.pods import pods
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.pipeline.kernel_access import KernelAccess, find_kernel_access
from otel_netagent.probes import catalogue
from otel_netagent.probing.declaration import Environment
from tests.lab.namespace import Namespace
from tests.lab.sockets import close_with_reset

PROBES = ("fd", "io", "tcpsummary")


@click.command()
@click.option("--namespaces", default=10, show_default=True, help="Network namespaces to make.")
@click.option("--processes", default=200, show_default=True, help="Processes, spread over the namespaces.")
@click.option("--descriptors", default=50, show_default=True, help="Open descriptors of each process.")
@click.option("--sockets", default=20000, show_default=True, help="TCP sockets, in one of the namespaces.")
@click.option("--rounds", default=20, show_default=True, help="Measurements of each way.")
def main(namespaces: int, processes: int, descriptors: int, sockets: int, rounds: int) -> None:
    """Print what counting costs."""
    with pods(namespaces) as made, contextlib.ExitStack() as stack:
        access = find_kernel_access()
        stack.callback(access.walk.walk.close)
        stack.enter_context(_processes(made, processes, descriptors))
        ways = _ways(access, stack)
        _print(ways, rounds, f"{namespaces} namespaces, {processes} processes of {descriptors} descriptors")
        stack.enter_context(_connections(made[0], sockets // 2))
        _print(ways, rounds, f"the same, and {sockets} TCP sockets")


def _print(ways: dict[str, Callable[[], object]], rounds: int, what: str) -> None:
    print_costs(f"CPU of one collection: {what}", cpu_cost(ways, rounds), "fd, kernel")


def _ways(access: KernelAccess, stack: contextlib.ExitStack) -> dict[str, Callable[[], object]]:
    kernels = {"kernel": access.facts, "procfs": None}
    return {
        f"{name}, {way}": _collecting(name, kernel, access, stack) for name in PROBES for way, kernel in kernels.items()
    }


def _collecting(
    name: str, kernel: KernelFacts | None, access: KernelAccess, stack: contextlib.ExitStack
) -> Callable[[], object]:
    probe = catalogue()[name].start(Environment(kernel, "not asked for", access.walk, events=None))
    stack.callback(probe.close)
    namespaces = access.walk.walk.take()
    return lambda: list(probe.collect(namespaces))


@contextlib.contextmanager
def _processes(made: Sequence[Namespace], count: int, descriptors: int) -> Iterator[None]:
    """Processes that do nothing, each with so many descriptors, every fifth of them a socket."""
    with contextlib.ExitStack() as stack:
        null = os.open("/dev/null", os.O_RDONLY)
        stack.callback(os.close, null)
        held = [os.dup(null) for _ in range((descriptors - 3) * 4 // 5)]
        for each in held:
            stack.callback(os.close, each)
        sockets = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(descriptors - 3 - len(held))]
        inherited = [*held, *(each.fileno() for each in sockets)]
        for namespace in itertools.islice(itertools.cycle(made), count):
            process = namespace.run(_idle, inherited)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def _idle(inherited: Sequence[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "infinity"], pass_fds=inherited)


@contextlib.contextmanager
def _connections(namespace: Namespace, count: int) -> Iterator[None]:
    """Established connections over loopback; the listener's ends are not accepted, so that half need no descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    namespace.sysctl("core/somaxconn", count)
    namespace.sysctl("ipv4/tcp_max_syn_backlog", count)
    with contextlib.ExitStack() as stack, namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(count)

        def connect() -> None:
            for _ in range(count):
                stack.callback(close_with_reset, socket.create_connection(listener.getsockname()))

        namespace.run(connect)
        yield


if __name__ == "__main__":
    main()
