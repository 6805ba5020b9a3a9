"""What is read of a pod."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.identity.kubernetes.objects import NoPod, pod_of
from otel_netagent.identity.pod import Pod, Workload
from tests.identity.kubernetes.pods import UID, owned_by, pod_document


def test_a_pod() -> None:
    assert pod_of(pod_document()) == Pod(
        UID, "web-7d4b9c5f6-x2x4k", "shop", "10.1.17.40", {"app": "web"}, workload=None
    )


def test_a_pod_that_has_no_address_yet_and_no_labels() -> None:
    document = pod_document(ip="")
    del document["metadata"]["labels"], document["status"]
    pod = pod_of(document)
    assert (pod.ip, pod.labels) == ("", {})


def test_a_static_pod_has_the_uid_that_its_processes_run_under() -> None:
    digest = "1f3ae7dc1d6e0b1a2f6f2a2a6c8e0e55"
    document = pod_document(
        annotations={"kubernetes.io/config.mirror": digest, "kubernetes.io/config.hash": digest},
        ownerReferences=owned_by("Node", "node-1"),
    )
    pod = pod_of(document)
    assert (pod.uid, pod.workload) == (digest, None)


@pytest.mark.parametrize(
    ("kind", "name", "labels", "workload"),
    [
        ("ReplicaSet", "web-7d4b9c5f6", {"pod-template-hash": "7d4b9c5f6"}, Workload("Deployment", "web")),
        ("ReplicaSet", "web-7d4b9c5f6", {}, Workload("ReplicaSet", "web-7d4b9c5f6")),
        ("ReplicaSet", "web", {"pod-template-hash": "7d4b9c5f6"}, Workload("ReplicaSet", "web")),
        ("StatefulSet", "db", {"controller-revision-hash": "db-1"}, Workload("StatefulSet", "db")),
        ("DaemonSet", "proxy", {"pod-template-hash": "1"}, Workload("DaemonSet", "proxy")),
        ("Job", "backup-28941", {}, Workload("Job", "backup-28941")),
    ],
)
def test_the_workload_is_the_controller_and_of_a_version_the_deployment(
    kind: str, name: str, labels: dict[str, str], workload: Workload
) -> None:
    assert pod_of(pod_document(labels=labels, ownerReferences=owned_by(kind, name))).workload == workload


def test_an_owner_that_is_no_controller_is_none() -> None:
    assert pod_of(pod_document(ownerReferences=owned_by("Job", "x")[:1])).workload is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
_KEYS = ["metadata", "status", "name", "uid", "labels", "annotations", "ownerReferences", "podIP"]


@given(st.sampled_from(_KEYS), _JSON)
def test_whatever_the_api_says_is_a_pod_or_none(key: str, thing: object) -> None:
    """Nothing that it says ends the agent, and what is taken for a pod has text where text is expected."""
    document = pod_document(annotations={}, ownerReferences=owned_by("Job", "x"))
    place = document if key in document else document["status"] if key == "podIP" else document["metadata"]
    place[key] = thing
    try:
        pod = pod_of(document)
    except NoPod:
        return
    assert all(isinstance(text, str) for text in (pod.uid, pod.name, pod.namespace, pod.ip, *pod.labels.values()))
    json.dumps(dict(pod.labels))
