"""What Kubernetes knows of a pod, as far as this agent wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workload:
    """What a pod belongs to, as people know it: the Deployment, and not the ReplicaSet of one of its versions."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of this node. `uid` is the one that cgroup paths have; `ip`, its first address, is empty before it has one.

    `labels` are Kubernetes' own, by keys as `app.kubernetes.io/name`.
    """

    uid: str
    name: str
    namespace: str
    ip: str
    labels: Mapping[str, str]
    workload: Workload | None
