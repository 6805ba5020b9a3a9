"""Pods as the API writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NODE = "node-of-tests"
UID = "3ae65e4f-ef60-4b67-9e2b-1bbcaa1ecd21"


def pod_document(
    name: str = "web-7d4b9c5f6-x2x4k",
    *,
    uid: str = UID,
    namespace: str = "shop",
    ip: str = "10.1.17.40",
    labels: Mapping[str, str] | None = None,
    version: int = 1,
    node: str = NODE,
    **metadata: object,
) -> dict[str, Any]:
    """One pod, with further `metadata`; as much of it as anybody here reads."""
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid,
            "resourceVersion": str(version),
            "labels": {"app": "web"} if labels is None else dict(labels),
            **metadata,
        },
        "spec": {"nodeName": node},
        "status": {"phase": "Running", **({"podIP": ip} if ip else {})},
    }


def owned_by(kind: str, name: str) -> list[dict[str, Any]]:
    """References of which one is the controller."""
    return [
        {"apiVersion": "v1", "kind": "Other", "name": "other", "uid": "1"},
        {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "2", "controller": True},
    ]
