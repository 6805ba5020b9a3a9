"""The owner of a network namespace, found from its processes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from otel_netagent.identity.cgroup import CgroupOwner, owner_of
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.kernel.proc import files, processes

SHORT_ID = 12
"""Characters of a container's id that are shown, as `docker ps` does."""


@dataclass(frozen=True, slots=True)
class NamespaceOwner:
    """Entity of a namespace, and the process that shows it (`witness`); None if no process was found alive."""

    entity: Entity
    witness: int | None


class Netns(NamedTuple):
    """A network namespace: its inode number, which is used again, and its cookie, which is not."""

    inode: int
    cookie: int


def examine(netns: Netns, pids: Iterable[int], name: str | None, proc: Path = files.PROC) -> NamespaceOwner:
    """Owner of a namespace that is not the host's, by its processes and its name of `ip netns`.

    Containers go before names. Of several containers it is the one whose process is the oldest: of a pod the
    sandbox, of shared namespaces the container that the others joined. The rest has the oldest process as witness.
    """
    by_age = sorted((ticks, pid) for pid in pids if (ticks := processes.start_ticks(pid, proc)) is not None)
    if not by_age:
        return NamespaceOwner(_unowned(netns, name, start_ns=0), witness=None)
    oldest_ticks, oldest = by_age[0]
    start_ns = processes.unix_ns_of_ticks(oldest_ticks)
    for _, pid in by_age:
        owner = owner_of(processes.cgroup_of(pid, proc) or "")
        if owner is not None:
            return NamespaceOwner(_owned(netns, owner, start_ns), witness=pid)
    return NamespaceOwner(_unowned(netns, name, start_ns), witness=oldest)


def host_entity(netns: Netns, proc: Path = files.PROC) -> Entity:
    """The node itself, which started when its first process did."""
    start_ns = processes.process_start_ns(1, proc) or 0
    return Entity(*netns, EntityKind.HOST, "hostNetwork", "hostNetwork", start_ns)


def _owned(netns: Netns, owner: CgroupOwner, start_ns: int) -> Entity:
    if owner.pod_uid:
        kind, pod, namespace = EntityKind.POD, owner.pod_uid, "unknownNamespace"
    else:
        kind, pod, namespace = EntityKind.CONTAINER, owner.container_id[:SHORT_ID], "standaloneContainer"
    return Entity(*netns, kind, pod, namespace, start_ns, owner.pod_uid, owner.container_id)


def _unowned(netns: Netns, name: str | None, start_ns: int) -> Entity:
    return Entity(*netns, EntityKind.NETNS, name or f"ns{netns.inode}", "standaloneNetns", start_ns)
