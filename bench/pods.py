"""Namespaces as pods have them: a process, loopback, and one end of a veth pair whose other end the node has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lab.links import ip_batch
from lab.namespace import Namespace


@contextlib.contextmanager
def pods(count: int) -> Iterator[list[Namespace]]:
    """Make them for the time of the block, and one namespace more: that of the node, with all the other ends."""
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(Namespace())
        made = [stack.enter_context(Namespace()) for _ in range(count)]
        ip_batch(node, *(f"link add veth{pod.pid} up type veth peer name eth0 netns {pod.pid}" for pod in made))
        for pod in made:
            ip_batch(pod, "link set eth0 up")
        yield made
