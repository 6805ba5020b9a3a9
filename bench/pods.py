"""Namespaces as pods have them: a process, loopback, and one end of a veth pair."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.lab.namespace import Namespace


@contextlib.contextmanager
def pods(count: int) -> Iterator[list[Namespace]]:
    """Make them for the time of the block."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            pod = stack.enter_context(Namespace())
            pod.command("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
            pod.command("ip", "link", "set", "eth0", "up")
            made.append(pod)
        yield made
