"""A packet for a closed port: the same is told on standard error, by gRPC and by OTLP, and it is counted."""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, TypeVar

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from lab.scenario import case_id
from lab.truth import Family
from lab.waiting import eventually
from otel_netagent.probes import catalogue
from otel_netagent.probing.occurrences import COMMON
from tests.agent.closed_ports import Fault, closed_tcp_port, closed_udp_port
from tests.agent.command import NODE, PATIENCE_S
from tests.agent.exposition import Exposition, Point, delivered
from tests.agent.procfs_truth import collected_in_calm
from tests.agent.running import Agent, Told
from tests.agent.stage import Stage, await_known, named_pair
from tests.agent.watching import Watcher, watching
from tests.outputs.otlp.receivers import Receiver, grpc_receiver, http_receiver

T = TypeVar("T")

_RECEIVERS: Mapping[str, Callable[[], AbstractContextManager[Receiver]]] = {
    "grpc": grpc_receiver,
    "http/protobuf": http_receiver,
}
_FAULTS: tuple[Fault, ...] = (closed_tcp_port, closed_udp_port)
_EVENT_NAMES = {
    "PACKETLOSS": "netagent.packetloss",
    "TCPRESET_NOSOCK": "netagent.tcpreset.nosock",
    "TCP_RCV_RST_SYN": "netagent.tcpreset.received.syn",
}


@dataclass(frozen=True, slots=True)
class Outputs:
    """An agent, and whoever gets what it finds."""

    agent: Agent
    watcher: Watcher
    receiver: Receiver

    def records(self, pods: Collection[str]) -> list[tuple[dict[str, str], LogRecord]]:
        """Log records received so far of these pods, each with the attributes of its resource."""
        requests = [each.request for each in self.receiver.received]
        return [
            (resource, record)
            for request in requests
            if isinstance(request, ExportLogsServiceRequest)
            for logs in request.resource_logs
            if (resource := _texts(logs.resource.attributes))["pod"] in pods
            for scope in logs.scope_logs
            for record in scope.log_records
        ]

    def points(self, time_ms: int) -> dict[Point, float]:
        """Metrics received so far of this collection."""
        requests = [each.request for each in reversed(self.receiver.received)]
        metrics = (delivered(each, time_ms) for each in requests if isinstance(each, ExportMetricsServiceRequest))
        return next(filter(None, metrics), {})


@dataclass(frozen=True, slots=True)
class Case:
    """A fault that was made, and what must be told of it."""

    stage: Stage
    expected: list[Told]
    began_ns: int


Cases: TypeAlias = Mapping[tuple[Fault, Family], Case]


@pytest.fixture(scope="module", params=_RECEIVERS)
def outputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outputs]:
    protocol: str = request.param
    with _RECEIVERS[protocol]() as receiver:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        with Agent(tmp_path_factory.mktemp("agent"), environ=environ) as agent, watching(agent) as watcher:
            yield Outputs(agent, watcher, receiver)


@pytest.fixture(scope="module")
def cases(outputs: Outputs) -> Iterator[Cases]:
    """All faults, made one after the other, so that the outputs are waited for only once."""
    made = {}
    with contextlib.ExitStack() as stages:
        kinds = list(itertools.product(_FAULTS, Family))
        pairs = [stages.enter_context(named_pair()) for _ in kinds]
        await_known(outputs.agent, *pairs)
        for (fault, family), stage in zip(kinds, pairs, strict=True):
            began_ns = time.time_ns()
            made[fault, family] = Case(stage, fault(stage, family), began_ns)
        yield made


@pytest.fixture(scope="module")
def collected(cases: object, outputs: Outputs) -> Exposition:
    """Numbers that were collected after all faults."""
    del cases
    return outputs.agent.next_collection()


@pytest.fixture(params=_FAULTS, ids=lambda fault: fault.__name__)
def fault(request: pytest.FixtureRequest) -> Fault:
    fault: Fault = request.param
    return fault


@pytest.fixture(params=Family, ids=case_id)
def family(request: pytest.FixtureRequest) -> Family:
    return Family(request.param)


@pytest.fixture
def case(fault: Fault, family: Family, cases: Cases) -> Case:
    return cases[fault, family]


@pytest.fixture
def lines(case: Case, outputs: Outputs) -> list[str]:
    """The lines of a case, and no fewer than are expected."""
    return _at_least(len(case.expected), lambda: outputs.agent.event_lines(case.stage.pods))


def test_lines_on_standard_error(case: Case, lines: list[str]) -> None:
    assert Counter(map(Told.of, lines)) == Counter(case.expected)
    assert all(" namespace=standaloneNetns protocol=" in line for line in lines)
    assert {"  stacktrace:" in line for line in lines if "type=PACKETLOSS" in line} == {True}


def test_same_in_the_stream(case: Case, lines: list[str], outputs: Outputs) -> None:
    events = _at_least(len(lines), lambda: outputs.watcher.events(case.stage.pods))
    assert sorted(map(_line_of_watched, events)) == lines
    whose = {f"standaloneNetns/{pod} node={NODE} netns=ns{inode} " for pod, inode in case.stage.inodes.items()}
    assert {event["meta"] for event in events} <= whose


def test_same_as_log_records(case: Case, lines: list[str], outputs: Outputs) -> None:
    records = _at_least(len(lines), lambda: outputs.records(case.stage.pods))
    assert sorted(record.body.string_value for _, record in records) == lines
    for resource, record in records:
        told = Told.of(record.body.string_value)
        assert told
        assert (
            resource.items()
            >= {
                "service.name": "otel-netagent",
                "host.name": NODE,
                "node": NODE,
                "pod": told.pod,
                "netns": f"ns{case.stage.inodes[told.pod]}",
                "namespace": "standaloneNetns",
                "netagent.entity.kind": "netns",
            }.items()
        )
        assert record.event_name == _EVENT_NAMES[told.type]
        assert _texts(record.attributes).items() >= _attributes(told).items()


def test_same_time_everywhere(case: Case, lines: list[str], outputs: Outputs) -> None:
    events = _at_least(len(lines), lambda: outputs.watcher.events(case.stage.pods))
    records = _at_least(len(lines), lambda: outputs.records(case.stage.pods))
    times = {record.body.string_value: record.time_unix_nano for _, record in records}
    assert {_line_of_watched(event): _unix_ns(event["time"]) for event in events} == times
    for _, record in records:
        assert case.began_ns < record.time_unix_nano < record.observed_time_unix_nano


def test_counted_as_the_kernel_counts_it(cases: Cases, outputs: Outputs) -> None:
    namespaces = {pod: namespace for case in cases.values() for pod, namespace in case.stage.namespaces.items()}
    collected, expected_of_all = collected_in_calm(outputs.agent, list(namespaces.values()))
    for pod, expected in zip(namespaces, expected_of_all, strict=True):
        values = collected.of(pod)
        assert {name: values.get(name) for name in expected} == expected


def test_fault_moves_its_counters(
    case: Case, lines: list[str], fault: Fault, family: Family, collected: Exposition
) -> None:
    """By their names, exactly by one."""
    client, server = collected.of(case.stage.client), collected.of(case.stage.server)
    if fault is closed_tcp_port:
        assert (server["inspector_pod_tcpoutrsts"], client["inspector_pod_tcpattemptfails"]) == (1, 1)
    elif family.ip == 4:
        assert server["inspector_pod_udpnoports"] == 1
    places = collected.of(case.stage.server, "reason", "location")
    assert [value for name, value in places.items() if name.startswith("inspector_pod_packetloss,NO_SOCKET,")] == [1]
    for pod in case.stage.pods:
        outcomes = collected.of(pod, "type", "outcome")
        told = Counter(each.type for each in map(Told.of, lines) if each and each.pod == pod)
        assert {
            f"netagent_events_total,{name},emitted": count for name, count in told.items()
        }.items() <= outcomes.items()


def test_delivered_as_exposed(outputs: Outputs, collected: Exposition) -> None:
    """OTLP has each series once; `/metrics` under its other names too."""
    points = eventually(lambda: outputs.points(collected.time_ms), PATIENCE_S)
    declared = [*COMMON, *(each for probe in catalogue().values() for each in probe.series)]
    canonical = {alias: each.name for each in declared for alias in each.aliases}
    assert {point: value for point, value in collected.values.items() if point[0] not in canonical} == points
    for (name, labels), value in collected.values.items():
        assert points[canonical.get(name, name), labels] == value


def test_time_is_that_of_the_kernel(agent: Agent, family: Family) -> None:
    """The agent is stopped while the fault happens, so that it can know the time only from the kernel."""
    with named_pair() as stage, watching(agent) as watcher:
        await_known(agent, stage)
        agent.process.send_signal(signal.SIGSTOP)
        try:
            began_ns = time.time_ns()
            expected = closed_tcp_port(stage, family)
            ended_ns = time.time_ns()
        finally:
            agent.process.send_signal(signal.SIGCONT)
        events = _at_least(len(expected), lambda: watcher.events(stage.pods))
    assert all(began_ns < _unix_ns(event["time"]) < ended_ns for event in events)


def _at_least(count: int, ask: Callable[[], list[T]]) -> list[T]:
    eventually(lambda: len(ask()) >= count, PATIENCE_S)
    return ask()


def _line_of_watched(event: dict[str, str]) -> str:
    namespace, _, pod = event["meta"].split()[0].partition("/")
    return f"type={event['msg']} pod={pod} namespace={namespace} {event['event']}"


def _unix_ns(rfc3339: str) -> int:
    """Datetime knows no nanoseconds."""
    seconds, _, fraction = rfc3339.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 1_000_000_000 + int(fraction)


def _texts(attributes: Sequence[KeyValue]) -> dict[str, str]:
    """Attributes with their values as text."""
    return {each.key: str(each.value.int_value or each.value.string_value) for each in attributes}


def _attributes(told: Told) -> dict[str, str]:
    """The log record's attributes that say the same as the text."""
    said = dict(re.findall(r"(\w+)[=:](\S+)", told.body))
    attributes = {
        "network.transport": said["protocol"].lower(),
        "network.type": "ipv6" if ":" in said["saddr"] else "ipv4",
        "source.address": said["saddr"],
        "source.port": said["sport"],
        "destination.address": said["daddr"],
        "destination.port": said["dport"],
    }
    kind = "drop" if told.type == "PACKETLOSS" else "tcp"
    return attributes | {f"netagent.{kind}.{name}": said[name] for name in ("reason", "state") if name in said}
