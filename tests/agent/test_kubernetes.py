"""Pods by the names and labels that Kubernetes knows, in a running agent: with an API at the other end, and without."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from lab.namespace import Namespace
from otel_netagent.identity.kubernetes.connection import SERVICE_ACCOUNT
from otel_netagent.identity.kubernetes.watch_condition import WatchState
from otel_netagent.outputs.http.status import AgentStatus
from tests.agent.command import NETAGENT
from tests.agent.running import Agent
from tests.identity.cgroups import move, new_cgroup
from tests.identity.kubernetes.pods import owned_by, pod_document
from tests.identity.kubernetes.server import Cluster, serving
from tests.outputs.otlp.receivers import Receiver, grpc_receiver

_SERIES = "inspector_pod_tcpcurrestab"


@dataclass
class Pod:
    """A pod of this machine: its namespace, with a process in its cgroup, and what the API says of it."""

    namespace: Namespace
    uid: str
    cluster: Cluster

    def is_told(self, labels: Mapping[str, str], ip: str = "10.1.17.40") -> None:
        """Have the API tell of it."""
        owner = owned_by("ReplicaSet", "web-7d4b9c5f6")
        labels = {**labels, "pod-template-hash": "7d4b9c5f6"}
        self.cluster.put(pod_document("web-0", uid=self.uid, ip=ip, labels=labels, ownerReferences=owner))


@contextmanager
def pod_of(cluster: Cluster) -> Iterator[Pod]:
    uid = str(uuid.uuid4())
    with (
        new_cgroup(f"kubepods/burstable/pod{uid}/{'0c8d9f5a' * 8}") as cgroup,
        Namespace() as namespace,
        namespace.run(subprocess.Popen, ["cat"], stdin=subprocess.PIPE) as process,
    ):
        move(process.pid, cgroup)
        try:
            yield Pod(namespace, uid, cluster)
        finally:
            process.kill()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def port(cluster: Cluster, tmp_path: Path) -> Iterator[int]:
    """Where the cluster serves; what to trust is in `ca.crt`, and a token in `token`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "token").write_text("first")
    with serving(cluster, authority.issue_cert("127.0.0.1")) as port:
        yield port


def in_a_pod(directory: Path) -> list[str]:
    """The command with a service account's files where a pod has them, in a mount namespace of its own."""
    place = SERVICE_ACCOUNT.resolve()
    top = Path(*place.parts[:3])
    script = f'mkdir -p {top} && mount -t tmpfs none {top} && mkdir -p {place} && cp "$0"/* {place} && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, str(directory), NETAGENT]


def write_kubeconfig(directory: Path, port: int) -> Mapping[str, str]:
    """A file that leads to an API at this port; the variable that names it."""
    file = directory / "kubeconfig"
    it = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(directory / "ca.crt")}
    contents = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "it", "user": "me"}}],
        "clusters": [{"name": "it", "cluster": it}],
        "users": [{"name": "me", "user": {"token": "first"}}],
    }
    file.write_text(json.dumps(contents))
    return {"KUBECONFIG": str(file)}


def shown(agent: Agent, pod: Pod) -> dict[str, str]:
    """The labels on `/metrics` of the one series of its name that the pod has, but for the two that never change."""
    text = agent.get("/metrics")[1].decode()
    [family] = [each for each in text_string_to_metric_families(text) if each.name == _SERIES]
    [labels] = [sample.labels for sample in family.samples if sample.labels["netns"] == f"ns{pod.namespace.inode}"]
    return {name: value for name, value in labels.items() if name not in ("netns", "node")}


def sent(receiver: Receiver, pod: Pod) -> dict[str, str]:
    """The same of what was sent last by OTLP."""
    found = [
        {attribute.key: attribute.value.string_value for attribute in point.attributes}
        for each in receiver.received
        if isinstance(each.request, ExportMetricsServiceRequest)
        for resource in each.request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == _SERIES
        for point in metric.gauge.data_points
    ]
    labels = next((each for each in reversed(found) if each["netns"] == f"ns{pod.namespace.inode}"), {})
    return {name: value for name, value in labels.items() if name not in ("netns", "node")}


def change(directory: Path, **settings: object) -> None:
    """Write other settings of metrics into the agent's file."""
    file = directory / "config.yaml"
    sections = json.loads(file.read_text())
    sections["metric_config"] |= settings
    file.write_text(json.dumps(sections))


def test_names_and_labels_follow_the_pod_and_the_configuration(cluster: Cluster, port: int, tmp_path: Path) -> None:
    """In a cluster, as its service account."""
    account, directory = tmp_path / "account", tmp_path / "agent"
    account.mkdir()
    directory.mkdir()
    for name in ("token", "ca.crt"):
        (tmp_path / name).rename(account / name)
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
    named = {"namespace": "shop", "pod": "web-0"}
    labels = {"ip": "10.1.17.40", "label_app": "web", "label_pod_template_hash": "7d4b9c5f6"}
    chosen = [{"source": "app", "type": "label", "replace": "app"}, {"source": "workload", "type": "meta"}]
    with pod_of(cluster) as pod, grpc_receiver() as receiver:
        pod.is_told({"app": "web"})
        otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}"}
        with Agent(directory, environ={**environ, **otlp}, command=in_a_pod(account)) as agent:

            def becomes(expected: Mapping[str, str]) -> None:
                agent.eventually(lambda: shown(agent, pod) == expected)
                agent.eventually(lambda: sent(receiver, pod) == expected)

            assert shown(agent, pod) == named, "from the first collection on"
            change(directory, verbose=True)
            becomes(named | labels)
            pod.is_told({"app": "shop"}, ip="10.1.17.41")
            becomes(named | labels | {"ip": "10.1.17.41", "label_app": "shop"})
            change(directory, expose_labels=chosen)
            becomes(named | {"app": "shop", "workload": "web"})
            change(directory, verbose=False, expose_labels=[])
            becomes(named)
            status = AgentStatus.from_json(agent.get("/status")[1])
            assert (status.kubernetes.state, status.kubernetes.pods) == (WatchState.FOLLOWING, 1)
            text = agent.get("/metrics")[1].decode()
            assert re.search(r'^netagent_kubernetes_state\{node=".*",state="following"\} 1', text, re.MULTILINE)


def test_without_kubernetes_pods_have_their_uid_and_verbose_is_in_vain(tmp_path: Path) -> None:
    with pod_of(Cluster()) as pod, Agent(tmp_path, metric={"verbose": True}) as agent:
        assert shown(agent, pod) == {"namespace": "unknownNamespace", "pod": pod.uid}
        assert AgentStatus.from_json(agent.get("/status")[1]).kubernetes.state is WatchState.OFF
        assert [line for line in agent.err if "metric_config.verbose: no pod is known by more than its UID" in line]


def test_an_api_that_does_not_answer_holds_up_nothing(port: int, tmp_path: Path) -> None:
    """A port where nobody answers, and then another; by a file, since the agent is in no cluster."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent, pod_of(Cluster()) as pod:
        environ = write_kubeconfig(tmp_path, silent.getsockname()[1])
        with Agent(tmp_path, environ=environ) as agent:
            assert shown(agent, pod)["pod"] == pod.uid
            write_kubeconfig(tmp_path, port)
            agent.eventually(lambda: "Kubernetes: listed the pods of node" in "".join(agent.err))
            assert agent.stop() == 0
