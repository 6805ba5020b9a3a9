"""A pod of Kubernetes, with the few properties that the agent uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workload:
    """The workload that a pod belongs to, as people know it: the Deployment, not one of its ReplicaSets."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of this node. `uid` is the one in cgroup paths; `ip` is its first address, empty before it has one.

    `labels` are the pod's labels in Kubernetes, by keys such as `app.kubernetes.io/name`.
    """

    uid: str
    name: str
    namespace: str
    ip: str
    labels: Mapping[str, str]
    workload: Workload | None
