"""An agent that is killed while its receiver is away: what it had spooled, the next one delivers."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from prometheus_client.parser import text_string_to_metric_families

from lab.counters import counters
from lab.sockets import datagram
from lab.truth import Family
from tests.agent.running import Agent, free_port
from tests.agent.stage import Stage, await_known, named_pair
from tests.outputs.otlp.receivers import Receiver, grpc_receiver, http_receiver

_PORTS = range(10_000, 10_090)
"""Nobody listens at any; each is used once. Of one kind of drop, the kernel's side tells a hundred in a second."""


@pytest.mark.parametrize(("protocol", "receiver_at"), [("grpc", grpc_receiver), ("http/protobuf", http_receiver)])
def test_what_a_killed_agent_had_spooled_arrives_in_order(
    protocol: str, receiver_at: Callable[..., AbstractContextManager[Receiver]], tmp_path: Path
) -> None:
    port = free_port()
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }
    with named_pair() as stage:
        with Agent(tmp_path, environ=environ) as agent:
            await_known(agent, stage)
            began_ns = time.time_ns()
            _send_to_closed_ports(stage)
            ended_ns = time.time_ns()
            assert counters(stage.namespaces[stage.server])["Udp.NoPorts"] == len(_PORTS)
            _await_spooled(agent, stage)
            assert agent.stop(signal.SIGKILL) == -signal.SIGKILL
        killed_ns = time.time_ns()
        with receiver_at(port=port) as receiver, Agent(tmp_path, environ=environ) as agent:
            agent.eventually(lambda: set(_ports(_arrived(receiver, stage))) == set(_PORTS))
            agent.eventually(lambda: _times(receiver)[-1] > killed_ns)
        arrived = [record for record in _arrived(receiver, stage) if _ports([record])]
        assert _ports(arrived) == [*_PORTS], "one came twice, or too late"
        times = [record.time_unix_nano for record in arrived]
        assert times == sorted(times)
        assert began_ns < times[0] < times[-1] < ended_ns
        of_metrics = _times(receiver)
        assert of_metrics[0] < began_ns, "those of the outage are missing"
        assert of_metrics == sorted(of_metrics)


def _send_to_closed_ports(stage: Stage) -> None:
    with datagram(stage.pair.client, Family.IPV4) as sender:
        for port in _PORTS:
            sender.sendto(b"data", (stage.pair.server.address(Family.IPV4), port))


def _await_spooled(agent: Agent, stage: Stage) -> None:
    """Wait until all that was told is on disk: when no event is in memory any more."""
    agent.eventually(lambda: len([told for told in agent.told(stage.server) if not told.is_routine]) == len(_PORTS))
    agent.next_collection()  # what it says of itself is from then on of after that
    agent.eventually(lambda: _events_in_memory(agent) == 0)


def _events_in_memory(agent: Agent) -> float:
    families = text_string_to_metric_families(agent.get("/metrics")[1].decode())
    (queued,) = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "netagent_delivery_queued" and sample.labels["delivery"] == "OTLP logs"
    ]
    return queued


def _arrived(receiver: Receiver, stage: Stage) -> list[LogRecord]:
    """What happened to the server's side, in the order in which it came."""
    return [
        record
        for received in [*receiver.received]
        if isinstance(received.request, ExportLogsServiceRequest)
        for resource in received.request.resource_logs
        if _attributes(resource.resource).get("pod") == stage.server
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def _attributes(of: Resource | LogRecord) -> dict[str, str | int]:
    return {each.key: each.value.string_value or each.value.int_value for each in of.attributes}


def _ports(records: Sequence[LogRecord]) -> list[int]:
    """The closed ports that they tell of."""
    found = [_attributes(record).get("destination.port") for record in records]
    return [port for port in found if isinstance(port, int) and port in _PORTS]


def _times(receiver: Receiver) -> list[int]:
    """The Unix time of each collection that came, in nanoseconds, in the order in which they came."""
    return [
        point.time_unix_nano
        for received in [*receiver.received]
        if isinstance(received.request, ExportMetricsServiceRequest)
        for scope in received.request.resource_metrics[0].scope_metrics
        if scope.scope.name == "otel_netagent.udp"
        for point in scope.metrics[0].sum.data_points[:1]
    ]
