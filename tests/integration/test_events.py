"""A fault in a namespace is found by a query of the log store: with the right labels, tuple and time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from lab.scenario import case_id
from lab.truth import Family
from otel_netagent.outputs.otlp.attributes import add_attributes
from tests.agent.closed_ports import Fault, closed_tcp_port, closed_udp_port
from tests.agent.command import NODE
from tests.agent.running import Told
from tests.agent.stage import Stage, await_known, named_pair
from tests.integration.conftest import STORES
from tests.integration.documented import documented_queries
from tests.integration.far_end import FarEnd
from tests.integration.log_queries import Selection, await_results, language_of
from tests.integration.sending import send_event

pytestmark = [pytest.mark.integration, pytest.mark.parametrize("far_end", STORES, indirect=True)]

_EVENT_NAMES = {
    "PACKETLOSS": "netagent.packetloss",
    "TCPRESET_NOSOCK": "netagent.tcpreset.nosock",
    "TCP_RCV_RST_SYN": "netagent.tcpreset.received.syn",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A fault that was made, what must be told of it, and between which Unix times it happened."""

    stage: Stage
    expected: list[Told]
    began_ns: int
    ended_ns: int


@pytest.fixture(scope="module", params=[closed_tcp_port, closed_udp_port], ids=lambda fault: str(fault.__name__))
def fault(request: pytest.FixtureRequest) -> Fault:
    fault: Fault = request.param
    return fault


@pytest.fixture(scope="module", params=[Family.IPV4, Family.IPV6], ids=case_id)
def case(request: pytest.FixtureRequest, fault: Fault, far_end: FarEnd) -> Iterator[Case]:
    with named_pair() as stage:
        await_known(far_end.agent, stage)
        began_ns = time.time_ns()
        expected = fault(stage, Family(request.param))
        yield Case(stage, expected, began_ns, time.time_ns())


def test_found_by_pod_and_by_what_happened(case: Case, far_end: FarEnd) -> None:
    for told in case.expected:
        (entry,) = far_end.await_events(_selection(told), case.began_ns)
        assert Told.of(entry.line) == told
        assert case.began_ns < entry.time_ns < case.ended_ns


def test_found_by_tuple(case: Case, far_end: FarEnd) -> None:
    """Whoever has the addresses of a failed connection needs no more: both ends' events are found."""
    said = _said(case.expected[0])
    ends = {"source.address": said["saddr"], "source.port": said["sport"], "destination.address": said["daddr"]}
    selection = Selection({"service.name": "otel-netagent"}, ends)
    entries = far_end.await_events(selection, case.began_ns, at_least=len(case.expected))
    assert {Told.of(entry.line) for entry in entries} == set(case.expected)


def test_labels_are_who_and_where(case: Case, far_end: FarEnd) -> None:
    """And nothing else: each other label would multiply the streams."""
    for pod in {told.pod for told in case.expected}:
        selection = Selection({"pod": pod, "node": NODE, "cluster": "cluster-of-tests"})
        for entry in far_end.await_events(selection, case.began_ns):
            assert entry.labels == {
                language_of(far_end.stack.log_store).name("service.name"): "otel-netagent",
                "cluster": "cluster-of-tests",
                "namespace": "standaloneNetns",
                "pod": pod,
                "node": NODE,
            }


def test_rest_is_structured_metadata(case: Case, far_end: FarEnd) -> None:
    name = language_of(far_end.stack.log_store).name
    for told in case.expected:
        said = _said(told)
        (entry,) = far_end.await_events(_selection(told), case.began_ns)
        expected = {
            "event_name": _EVENT_NAMES[told.type],
            name("network.transport"): said["protocol"].lower(),
            name("source.address"): said["saddr"],
            name("source.port"): said["sport"],
            name("destination.address"): said["daddr"],
            name("destination.port"): said["dport"],
            "netns": f"ns{case.stage.inodes[told.pod]}",
        }
        assert expected.items() <= entry.metadata.items()
        assert (name("code.stacktrace") in entry.metadata) == (told.type == "PACKETLOSS")


@pytest.mark.parametrize(("owners", "workload"), [
    ({"k8s.deployment.name": "web", "k8s.replicaset.name": "web-5d4f"}, "web"),
    ({"k8s.replicaset.name": "bare-rs"}, "bare-rs"),
    ({"k8s.statefulset.name": "db"}, "db"),
    ({"k8s.daemonset.name": "proxy"}, "proxy"),
    ({"k8s.cronjob.name": "nightly", "k8s.job.name": "nightly-281"}, "nightly"),
    ({"k8s.job.name": "once"}, "once"),
])  # fmt: skip
def test_workload_is_a_label_whatever_its_kind(owners: dict[str, str], workload: str, far_end: FarEnd) -> None:
    """Sent by the test in the agent's place, since there is no Kubernetes here to know the owners from."""
    now_ns = time.time_ns()
    send_event(far_end.stack, LogRecord(time_unix_nano=now_ns, body=AnyValue(string_value=f"of {workload}")), **owners)
    (entry,) = far_end.await_events(Selection({"workload": workload}), now_ns)
    assert entry.line == f"of {workload}"


def test_queries_of_the_documentation_find_events(far_end: FarEnd) -> None:
    """Those for this store; of the event that they speak of, sent by the test."""
    store, now_ns = far_end.stack.log_store, time.time_ns()
    for name in ("netagent.tcpreset.nosock", "netagent.packetloss"):
        record = LogRecord(time_unix_nano=now_ns, event_name=name, body=AnyValue(string_value=name))
        add_attributes(record.attributes, {"source.address": "10.1.17.188", "source.port": 33488})
        send_event(far_end.stack, record, **{"pod": "web-0", "k8s.cluster.name": "c1"})
    queries = documented_queries("collector.md", store)
    assert len(queries) == 3
    for query in queries:
        await_results(store, query, now_ns)


def _selection(told: Told) -> Selection:
    return Selection({"pod": told.pod}, {"event_name": _EVENT_NAMES[told.type]})


def _said(told: Told) -> dict[str, str]:
    return dict(re.findall(r"(\w+)[=:](\S+)", told.body))
