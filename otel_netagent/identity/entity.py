"""The entity: the owner of a network namespace, as every output names it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeAlias

from otel_netagent.identity.pod import Workload

LabelPairs: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values, in their order."""


class EntityKind(enum.Enum):
    """What the owner of a network namespace is."""

    HOST = "host"
    POD = "pod"
    CONTAINER = "container"
    NETNS = "netns"


@dataclass(frozen=True, slots=True)
class Entity:
    """Owner of one network namespace, which `netns_cookie` distinguishes from all others, past ones included.

    `netns` is its inode number, which labels show; another namespace may get it as soon as this one is gone. If no
    cookie is known, it is the inode number too (kernel.namespaces.Namespace). `pod_uid` distinguishes a pod from the
    next one of the same name.

    `netns` is the inode number of that namespace, as `/proc/PID/ns/net` shows it.
    `pod` and `namespace` are the values of the labels of these names. Where the owner is no pod of
    Kubernetes, `namespace` says in camel case what kind of thing `pod` names (as the original's
    `hostNetwork`), which no Kubernetes namespace can be called: names there are lower case (RFC 1123).
    `start_ns` is the Unix time at which the oldest process of the namespace started.

    `labels` are those that its metrics have beside the four of every entity, if the configuration asks for any;
    `labels_left_out` were too many or too long. These and `workload` have no part in the hash, which every row of every
    collection asks for, so that they cost nothing while they stay the same.
    """

    netns: int
    netns_cookie: int
    kind: EntityKind
    pod: str
    namespace: str
    start_ns: int
    pod_uid: str = ""
    container_id: str = ""
    workload: Workload | None = field(default=None, hash=False)
    labels: LabelPairs = field(default=(), hash=False)
    labels_left_out: int = field(default=0, hash=False)

    @property
    def netns_label(self) -> str:
        """The namespace as labels spell it: `ns` and its inode number."""
        return f"ns{self.netns}"
