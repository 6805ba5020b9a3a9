"""A counter read by PromQL is the kernel's, under the name of the specification, by every way that it can come."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
import requests
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from lab.counters import counters
from lab.sockets import listening, port_of, stream
from lab.truth import Family
from otel_netagent.model.probe_status import ProbeState
from otel_netagent.outputs.otlp.attributes import add_attributes
from otel_netagent.probes import catalogue
from tests.agent.closed_ports import closed_tcp_port, closed_udp_port
from tests.agent.command import NODE
from tests.agent.procfs_truth import mib_values
from tests.agent.running import Agent
from tests.agent.stage import Stage, await_known, named_pair
from tests.integration.far_end import FarEnd
from tests.integration.log_queries import ARRIVAL_S
from tools.stack.services import HOST

pytestmark = pytest.mark.integration


@dataclass(frozen=True, slots=True)
class Way:
    """How numbers come into Prometheus: what tells its series from those of the others, and whether it has aliases."""

    selector: str
    has_aliases: bool = False


_WAYS = {
    "scrape of the agent": Way('job="net-exporter"', has_aliases=True),
    "collector's exporter": Way('job="otelcol"'),
    "remote write": Way('job="otel-netagent"'),
}
_CONNECTIONS = 7


@pytest.fixture(params=_WAYS.values(), ids=list(_WAYS))
def way(request: pytest.FixtureRequest) -> Way:
    way: Way = request.param
    return way


@pytest.fixture(scope="module")
def stage(far_end: FarEnd) -> Iterator[Stage]:
    """Two hosts that the agent knows, and between which something has happened."""
    with named_pair() as stage:
        await_known(far_end.agent, stage)
        # The first value of a counter has none before it: a rate needs it to be seen before anything happens.
        for way in _WAYS.values():
            far_end.await_promql(f'inspector_pod_tcppassiveopens{{pod="{stage.server}",{way.selector}}}')
        closed_tcp_port(stage, Family.IPV4)
        closed_udp_port(stage, Family.IPV4, times=3)
        for _ in range(_CONNECTIONS):
            _connect(stage)
        yield stage


def test_counters_are_those_of_the_kernel(way: Way, far_end: FarEnd, stage: Stage) -> None:
    probes = [name for name, probe in far_end.agent.probes().items() if probe.state is ProbeState.RUNNING]
    namespace = stage.namespaces[stage.server]
    expected = mib_values(namespace, probes)
    if not way.has_aliases:
        expected = {name: value for name, value in expected.items() if name not in _aliases()}
    assert len(expected) > 50
    far_end.eventually(lambda: expected.items() <= _values(far_end, way, stage.server).items())
    assert mib_values(namespace, probes).items() >= expected.items(), "the kernel counted on meanwhile"

    said = counters(namespace)
    values = _values(far_end, way, stage.server)
    assert values["inspector_pod_tcppassiveopens"] == said["Tcp.PassiveOpens"] == _CONNECTIONS
    assert values["inspector_pod_udpnoports"] == said["Udp.NoPorts"] == 3
    assert values["inspector_pod_tcpoutrsts"] == said["Tcp.OutRsts"] == 1


def test_drops_are_counted_by_their_reason(way: Way, far_end: FarEnd, stage: Stage) -> None:
    query = f'sum(inspector_pod_packetloss{{pod="{stage.server}",reason="NO_SOCKET",{way.selector}}})'
    assert [sample.value for sample in far_end.await_promql(query)] == [1 + 3]


def test_name_that_ends_in_total_keeps_its_end(way: Way, far_end: FarEnd, stage: Stage) -> None:
    name = "inspector_pod_packetloss_total"
    expected = far_end.agent.scrape().of(stage.server)[name]
    assert expected >= 1 + 3
    far_end.await_promql(f'{name}{{pod="{stage.server}",{way.selector}}} == {expected}')


def test_rate_of_the_documentation_answers(way: Way, far_end: FarEnd, stage: Stage) -> None:
    names = ["inspector_pod_tcppassiveopens", *(["inspector_pod_tcppassiveopenes"] if way.has_aliases else [])]
    for name in names:
        query = f'rate({name}{{pod="{stage.server}",{way.selector}}}[1m]) > 0'
        (sample,) = far_end.await_promql(query)
        legend = "/".join(sample.labels[label] for label in ("namespace", "pod", "node"))
        assert legend == f"standaloneNetns/{stage.server}/{NODE}"


def test_no_name_is_changed_on_the_way(way: Way, far_end: FarEnd, stage: Stage) -> None:
    """Neither `_total` nor a unit is added, nor anything taken away: the names at the far end are those at /metrics."""

    def at_far_end() -> set[str]:
        found = far_end.promql(f'count by (__name__) ({{__name__=~"inspector_.+",{way.selector}}})')
        return {sample.name for sample in found}

    def at_agent() -> set[str]:
        names = _exposed_names(far_end.agent)
        return names if way.has_aliases else names - _aliases()

    del stage  # by which there are pods
    assert len(at_agent()) > 50
    far_end.eventually(lambda: at_far_end() == at_agent())


def test_older_numbers_that_follow_newer_ones_of_the_same_agent_are_taken(far_end: FarEnd) -> None:
    """So it is where a snapshot takes several requests, or waited on disk: the agent's own numbers overtake it.

    Each request may give the agent's `target_info` once more, which Prometheus would refuse, and all of the request.
    """
    now_ns = time.time_ns()
    for name, time_ns in (("made_up_newer", now_ns), ("made_up_older", now_ns - 1_000_000_000)):
        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        described = {"service.name": "otel-netagent", "service.instance.id": "made-up", "host.name": NODE}
        add_attributes(resource.resource.attributes, described)
        gauge = resource.scope_metrics.add().metrics.add(name=name).gauge
        gauge.data_points.add(time_unix_nano=time_ns, as_int=1)
        url = f"http://{HOST}:{far_end.stack.ports.otlp_http}/v1/metrics"
        headers = {"Content-Type": "application/x-protobuf"}
        assert requests.post(url, request.SerializeToString(), headers=headers, timeout=ARRIVAL_S).ok
    for name in ("made_up_newer", "made_up_older"):
        far_end.await_promql(f'{name}{{{_WAYS["remote write"].selector},instance="made-up"}}')


def test_cluster_is_a_label(far_end: FarEnd, stage: Stage) -> None:
    """Of what the collector sends, since one backend may have several clusters."""
    for way in (_WAYS["collector's exporter"], _WAYS["remote write"]):
        query = f'inspector_pod_tcppassiveopens{{pod="{stage.server}",{way.selector}}}'
        (sample,) = far_end.await_promql(query)
        assert sample.labels["cluster"] == "cluster-of-tests"
        assert not [name for name in sample.labels if name.startswith("otel_scope")]


def _connect(stage: Stage) -> None:
    with listening(stage.pair.server, Family.IPV4) as listener, stream(stage.pair.client, Family.IPV4) as caller:
        caller.connect((stage.pair.server.ipv4, port_of(listener)))
        with contextlib.closing(listener.accept()[0]):
            pass


def _values(far_end: FarEnd, way: Way, pod: str) -> Mapping[str, float]:
    """Values of the series that a pod has once only."""
    found = far_end.promql(f'{{__name__=~"inspector_.+",pod="{pod}",reason="",{way.selector}}}')
    return {each.name: each.value for each in found}


def _exposed_names(agent: Agent) -> set[str]:
    text = agent.get("/metrics")[1].decode()
    return {name for name in re.findall(r"^(\w+)\{", text, re.MULTILINE) if name.startswith("inspector_")}


def _aliases() -> set[str]:
    return {alias for probe in catalogue().values() for series in probe.series for alias in series.aliases}
