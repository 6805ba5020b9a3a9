"""The few fields that the agent uses of a pod in the API's JSON (Kubernetes API reference, core/v1, Pod)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_netagent.identity.pod import Pod, Workload

_MIRROR: Final = "kubernetes.io/config.mirror"
"""The annotation of a pod that stands for a static pod of the kubelet's own, whose UID it holds (kubelet,
`pkg/kubelet/types/pod_update.go`). The processes run under that UID, while the API gives the mirror another."""

_TEMPLATE_HASH: Final = "pod-template-hash"


class NoPod(Exception):
    """An object that should be a pod lacks a field that every pod has."""


def pod_of(document: Mapping[str, Any]) -> Pod:
    """The pod in an object of the API. Raises NoPod."""
    try:
        metadata = document["metadata"]
        labels = {str(key): str(value) for key, value in (metadata.get("labels") or {}).items()}
        return Pod(
            uid=str((metadata.get("annotations") or {}).get(_MIRROR) or metadata["uid"]),
            name=str(metadata["name"]),
            namespace=str(metadata["namespace"]),
            ip=str((document.get("status") or {}).get("podIP") or ""),
            labels=labels,
            workload=_workload(metadata, labels),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise NoPod(f"an object that is not a pod: {error!r}") from None


def _workload(metadata: Mapping[str, Any], labels: Mapping[str, str]) -> Workload | None:
    """Its controller; of a ReplicaSet that a Deployment made, the Deployment.

    That one names its ReplicaSets by its own name and the hash of the template, which their pods have as a label
    (Kubernetes documentation, "Deployments", "Pod-template-hash label"). A static pod is controlled by its node.
    """
    owner = next((each for each in metadata.get("ownerReferences") or () if each.get("controller")), None)
    if owner is None or owner["kind"] == "Node":
        return None
    kind, name = str(owner["kind"]), str(owner["name"])
    version = f"-{labels.get(_TEMPLATE_HASH, '')}"
    if kind == "ReplicaSet" and version != "-" and name.endswith(version):
        return Workload("Deployment", name.removesuffix(version))
    return Workload(kind, name)
