"""Reading one table of procfs in every network namespace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.kernel.proc import files, processes
from otel_netagent.probing.attach import Unavailable


def require(table: str, remedy: str) -> None:
    """Check that this kernel has /proc/PID/net/TABLE and that we may read it. Raises Unavailable with `remedy`."""
    path = files.PROC / "self/net" / table
    try:
        path.read_bytes()
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}: {remedy}") from error


def read_each(namespaces: Iterable[Namespace], table: str) -> Iterator[tuple[Namespace, str]]:
    """Text of /proc/PID/net/TABLE of each namespace; those that are gone, or have no such table, are left out."""
    for namespace in namespaces:
        text = files.read_net(namespace.pid, table) or _read_by_another(namespace, table)
        if text:
            yield namespace, text


def others_in(namespace: Namespace) -> Iterator[int]:
    """Processes of a namespace, for where the one that the walk met has gone meanwhile."""
    yield from (pid for pid in processes.pids() if processes.netns_of(pid) == namespace.inode)


def _read_by_another(namespace: Namespace, table: str) -> str | None:
    return next((text for pid in others_in(namespace) if (text := files.read_net(pid, table))), None)
