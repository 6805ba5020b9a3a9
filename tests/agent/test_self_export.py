"""What the agent sends of itself over OTLP."""

from __future__ import annotations

from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.agent.running import Agent
from tests.outputs.otlp.receivers import Receiver, grpc_receiver


def test_the_first_export_has_every_sender(tmp_path: Path) -> None:
    """The next one comes 15 seconds later."""
    with grpc_receiver() as receiver:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}"}
        with Agent(tmp_path, environ=environ) as agent:
            first = agent.eventually(lambda: _of_the_agent_itself(receiver))[0]
    assert first["netagent.delivery.delivered"] == {"OTLP metrics", "OTLP logs"}


def _of_the_agent_itself(receiver: Receiver) -> list[dict[str, set[str]]]:
    """Of each such request, the deliveries that its sums tell of, by their names."""
    requests = [each.request for each in receiver.received if isinstance(each.request, ExportMetricsServiceRequest)]
    return [
        {
            metric.name: {
                attribute.value.string_value
                for point in metric.sum.data_points
                for attribute in point.attributes
                if attribute.key == "delivery"
            }
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        for request in requests
        if b"process.cpu.time" in request.SerializeToString()
    ]
