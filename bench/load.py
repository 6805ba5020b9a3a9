"""What a node has beside namespaces: processes with their descriptors, and TCP sockets."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import socket
import subprocess
from collections.abc import Iterator, Sequence

from lab.namespace import Namespace
from lab.sockets import close_with_reset


@contextlib.contextmanager
def idle_processes(made: Sequence[Namespace], count: int, descriptors: int) -> Iterator[None]:
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
def connections(namespace: Namespace, count: int) -> Iterator[None]:
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
