"""The pod and the container of a process, from its cgroup path.

The kubelet and the container runtimes put the pod's UID and the container's id into the path. The spelling
depends on the runtime and on its cgroup driver (systemd or cgroupfs), not on the version of cgroups. The tables below
hold the spellings of one part of a path, each with an example.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_UID = r"([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})"
"""A UUID, with underscores in systemd's paths. A static pod has 32 digits instead, the hash of its manifest."""

_ID = r"([0-9a-f]{64})"

_POD_SPELLINGS = (
    re.compile(rf"pod{_UID}"),  # cgroupfs: /kubepods/burstable/pod<uid>
    re.compile(rf"(?:.+-)?kubepods(?:-\w+)?-pod{_UID}\.slice"),  # systemd: kubepods-burstable-pod<uid>.slice
)

_CONTAINER_SPELLINGS = (
    re.compile(_ID),  # cgroupfs, containerd and Docker: /kubepods/burstable/pod<uid>/<id>, /docker/<id>
    re.compile(rf"(?:crio|libpod)-{_ID}"),  # cgroupfs, CRI-O and podman: /kubepods/pod<uid>/crio-<id>
    re.compile(rf"(?:cri-containerd|crio|docker|libpod|nerdctl)-{_ID}\.scope"),  # systemd: cri-containerd-<id>.scope
)

_CONTAINERD_NAMESPACE = re.compile(r"(?:/\.\.)*/(?:default|k8s\.io)/([A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*)(?:/.*)?")
"""Without a parent cgroup containerd uses `/<its namespace>/<id>`, and `ctr run` lets the user choose the id."""


@dataclass(frozen=True, slots=True)
class CgroupOwner:
    """Pod UID and container id of a cgroup path. One of the two may be empty, never both."""

    pod_uid: str
    container_id: str


def owner_of(text: str) -> CgroupOwner | None:
    """The owner in the content of `/proc/PID/cgroup`; None if the process is in no container.

    With cgroups v1 each hierarchy has its own path: the path that says most is used. Any text is accepted.
    """
    fields = (line.split(":", 2) for line in text.split("\n"))
    paths = dict.fromkeys(path for _, _, path in (line for line in fields if len(line) == 3))
    owners = [owner for path in paths if (owner := _owner_by_path(path))]
    return max(owners, key=lambda owner: (owner.pod_uid != "", owner.container_id != ""), default=None)


def _owner_by_path(path: str) -> CgroupOwner | None:
    """The innermost pod and the innermost container in it: nodes of kind are containers themselves.

    A colon separates parts too: a runtime that gets a path in systemd's form but uses the cgroupfs driver creates one
    directory `kubepods-burstable-pod<uid>.slice:cri-containerd:<id>`.
    """
    pod_uid = container_id = ""
    for part in re.split("[/:]", path.removesuffix(" (deleted)")):
        if uid := _spelled(part, _POD_SPELLINGS):
            pod_uid, container_id = uid.replace("_", "-"), ""
        elif found := _spelled(part, _CONTAINER_SPELLINGS):
            container_id = found
    if not pod_uid and not container_id:
        container_id = _spelled(path, (_CONTAINERD_NAMESPACE,))
    return CgroupOwner(pod_uid, container_id) if pod_uid or container_id else None


def _spelled(text: str, spellings: tuple[re.Pattern[str], ...]) -> str:
    """The group of the first spelling that matches; empty if none does."""
    matches = (spelling.fullmatch(text) for spelling in spellings)
    return next((match[1] for match in matches if match), "")
