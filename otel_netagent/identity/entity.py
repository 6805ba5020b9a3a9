"""The entity: whom a network namespace belongs to, as every output names it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class EntityKind(enum.Enum):
    """What the owner of a network namespace is."""

    HOST = "host"
    POD = "pod"
    CONTAINER = "container"
    NETNS = "netns"


@dataclass(frozen=True, slots=True)
class Entity:
    """Owner of one network namespace.

    `pod` and `namespace` are the values of the labels of these names. Where the owner is no pod of
    Kubernetes, `namespace` says in camel case what kind of thing `pod` names (as the original's
    `hostNetwork`), which no Kubernetes namespace can be called: names there are lower case (RFC 1123).
    `start_ns` is the Unix time at which the oldest process of the namespace started.
    """

    netns: int
    kind: EntityKind
    pod: str
    namespace: str
    start_ns: int
    pod_uid: str = ""
    container_id: str = ""

    @property
    def netns_label(self) -> str:
        """The namespace as labels spell it: `ns` and its inode number."""
        return f"ns{self.netns}"
