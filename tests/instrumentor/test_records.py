"""Events through the SDK, against what the agent sends: equal in every field; whose they are stands elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from hypothesis import assume, given
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.instrumentor.records import LogRecords
from otel_netagent.outputs.otlp.attributes import agent_resource, entity_attributes
from otel_netagent.outputs.otlp.logs import LogsEncoder, Observed
from tests.outputs.samples import NODE, TIME_NS, events

RESOURCE: Final = agent_resource(NODE, kubernetes=True)


def sent_by_sdk(event: AttributedEvent) -> ResourceLogs:
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call] # as the SDK has it
    provider = LoggerProvider(RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    LogRecords(provider, NODE).emit(event)
    return only_resource(encode_logs(exporter.get_finished_logs()).SerializeToString())


def sent_by_agent(event: AttributedEvent) -> ResourceLogs:
    [request] = LogsEncoder(RESOURCE, NODE).encode([Observed(event, TIME_NS)])
    return only_resource(request.body)


def only_resource(body: bytes) -> ResourceLogs:
    [resource] = ExportLogsServiceRequest.FromString(body).resource_logs
    return resource


def by_key(attributes: Iterable[KeyValue]) -> dict[str, KeyValue]:
    return {attribute.key: attribute for attribute in attributes}


@given(events())
def test_the_sdk_sends_what_the_agent_sends(event: AttributedEvent) -> None:
    whose = entity_attributes(event.entity, NODE).keys()
    assume(not whose & event.event.attributes.keys())
    before_ns = time.time_ns()
    of_sdk, of_agent = sent_by_sdk(event), sent_by_agent(event)
    [[record], [expected]] = ([*each.scope_logs[0].log_records] for each in (of_sdk, of_agent))

    # The time at which it was learnt of is now.
    assert before_ns <= record.observed_time_unix_nano <= time.time_ns()
    expected.observed_time_unix_nano = record.observed_time_unix_nano

    # Whose it is stands in the record, since the resource is the same for all records.
    of_entity = {key: value for key, value in by_key(of_agent.resource.attributes).items() if key in whose}
    assert of_entity.keys() == whose
    assert by_key(record.attributes) == by_key(expected.attributes) | of_entity
    assert len(record.attributes) == len(expected.attributes) + len(of_entity)
    assert by_key(of_agent.resource.attributes) == by_key(of_sdk.resource.attributes) | of_entity

    # All the rest is the same.
    for resource, each in ((of_sdk, record), (of_agent, expected)):
        each.ClearField("attributes")
        resource.ClearField("resource")
    assert of_sdk == of_agent
