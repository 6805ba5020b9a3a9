"""Events as OTLP log records: what is decoded is what the event holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_WARN
from opentelemetry.sdk.resources import Resource

from otel_netagent import __version__
from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.identity.entity import EntityKind
from otel_netagent.model.attribute import AttributeValue
from otel_netagent.model.event import Severity
from otel_netagent.outputs.otlp.logs import LogsEncoder, Observed
from otel_netagent.unicode import well_formed
from tests.outputs.samples import NODE, TIME_NS, events, make_entity, make_event

RESOURCE = Resource({"service.name": "otel-netagent", "k8s.node.name": NODE})
SEEN_NS = TIME_NS + 1_000


def encode(*occurrences: AttributedEvent, resource: Resource = RESOURCE) -> ExportLogsServiceRequest:
    """The request as a receiver sees it: from its bytes."""
    [request] = LogsEncoder(resource, NODE).encode([Observed(event, SEEN_NS) for event in occurrences])
    assert request.count == len(occurrences)
    return ExportLogsServiceRequest.FromString(request.body)


def plain(attributes: list[KeyValue]) -> dict[str, AttributeValue]:
    values = {}
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        assert kind in {"string_value", "int_value"}
        values[attribute.key] = getattr(attribute.value, kind)
    assert len(values) == len(attributes)
    return values


def test_record_of_an_event() -> None:
    event = make_event()
    [resource] = encode(event).resource_logs
    [scope] = resource.scope_logs
    assert (scope.scope.name, scope.scope.version) == ("otel_netagent.tcpreset", __version__)
    [record] = scope.log_records
    assert (record.time_unix_nano, record.observed_time_unix_nano) == (TIME_NS, SEEN_NS)
    assert (record.severity_number, record.severity_text) == (SEVERITY_NUMBER_WARN, "WARN")
    assert record.event_name == "netagent.tcpreset.nosock"
    assert record.body.string_value == event.line
    assert plain(list(record.attributes)) == {"source.address": "10.0.0.1", "source.port": 443}


def test_pod_is_named_on_the_resource() -> None:
    pod = make_entity(pod_uid="2d3b", container_id="c0ffee")
    [resource] = encode(make_event(pod)).resource_logs
    assert plain(list(resource.resource.attributes)) == {
        "service.name": "otel-netagent",
        "k8s.node.name": NODE,
        "netagent.entity.kind": "pod",
        "namespace": "shop",
        "netns": "ns4026534001",
        "node": NODE,
        "pod": "web-0",
        "k8s.pod.name": "web-0",
        "k8s.namespace.name": "shop",
        "k8s.pod.uid": "2d3b",
        "container.id": "c0ffee",
    }


def test_what_is_no_pod_gets_no_kubernetes_name_not_even_the_agents_own() -> None:
    agent = Resource(
        {"service.name": "a", "k8s.pod.name": "agent-x", "k8s.namespace.name": "kube-system", "container.id": "f00"}
    )
    host = make_entity(kind=EntityKind.HOST, pod="hostNetwork", namespace="hostNetwork")
    [resource] = encode(make_event(host), resource=agent).resource_logs
    assert plain(list(resource.resource.attributes)) == {
        "service.name": "a",
        "netagent.entity.kind": "host",
        "namespace": "hostNetwork",
        "netns": "ns4026534001",
        "node": NODE,
        "pod": "hostNetwork",
    }


def test_integer_beyond_64_bits_arrives_as_its_digits() -> None:
    event = make_event(attributes={"a": 2**63, "b": -(2**63)})
    [record] = encode(event).resource_logs[0].scope_logs[0].log_records
    assert plain(list(record.attributes)) == {"a": "9223372036854775808", "b": -(2**63)}


@pytest.mark.parametrize("severities", [("WARN", "INFO"), ("INFO", "WARN")])
def test_events_of_one_name_have_each_their_own_severity(severities: tuple[str, str]) -> None:
    """As the expected ones have, beside the faults of their type."""
    request = encode(*(make_event(severity=Severity[severity]) for severity in severities))
    records = request.resource_logs[0].scope_logs[0].log_records
    assert {record.event_name for record in records} == {"netagent.tcpreset.nosock"}
    assert [record.severity_text for record in records] == list(severities)
    assert [int(record.severity_number) for record in records] == [Severity[severity].value for severity in severities]


@given(st.lists(events(), max_size=8))
def test_every_event_arrives_once_and_under_its_entity(occurrences: list[AttributedEvent]) -> None:
    request = encode(*occurrences)
    found = [
        (
            plain(list(resource.resource.attributes))["pod"],
            plain(list(resource.resource.attributes))["netns"],
            scope.scope.name,
            record.time_unix_nano,
            record.body.string_value,
            plain(list(record.attributes)),
        )
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]
    expected = [
        (
            well_formed(occurrence.entity.pod),
            occurrence.entity.netns_label,
            f"otel_netagent.{occurrence.event.probe}",
            occurrence.event.time_ns,
            well_formed(occurrence.line),
            {key: sent(value) for key, value in occurrence.event.attributes.items()},
        )
        for occurrence in occurrences
    ]
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert len(request.resource_logs) == len({occurrence.entity for occurrence in occurrences})


def sent(value: AttributeValue) -> AttributeValue:
    if isinstance(value, str):
        return well_formed(value)
    return value if -(2**63) <= value < 2**63 else str(value)
