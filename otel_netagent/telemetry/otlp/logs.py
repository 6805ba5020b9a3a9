"""Events as OTLP log records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.sdk.resources import Resource

from otel_netagent import __version__
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.telemetry.event import AttributedEvent
from otel_netagent.telemetry.otlp.attributes import add_attributes
from otel_netagent.telemetry.rows import entity_labels
from otel_netagent.unicode import well_formed


@dataclass(frozen=True, slots=True)
class Observed:
    """An event, and the Unix time at which the agent learnt of it."""

    event: AttributedEvent
    time_ns: int


class LogsEncoder:
    """Encodes events as log records: a resource for each entity, where Loki indexes it, and a scope for each probe."""

    def __init__(self, resource: Resource, node: str) -> None:
        """Encode for the agent that this resource describes, on the node of this name."""
        self._agent = {key: str(value) for key, value in resource.attributes.items() if not _is_of_own_pod(key)}
        self._node = node

    def encode(self, items: Sequence[Observed]) -> ExportLogsServiceRequest:
        """One request with all these events."""
        request = ExportLogsServiceRequest()
        resources: dict[Entity, ResourceLogs] = {}
        scopes: dict[tuple[Entity, str], ScopeLogs] = {}
        for item in items:
            entity, probe = item.event.entity, item.event.event.probe
            if (entity, probe) not in scopes:
                if entity not in resources:
                    resources[entity] = request.resource_logs.add()
                    add_attributes(resources[entity].resource.attributes, self._agent | self._identity(entity))
                scope = InstrumentationScope(name=f"otel_netagent.{probe}", version=__version__)
                scopes[entity, probe] = resources[entity].scope_logs.add(scope=scope)
            _fill(scopes[entity, probe].log_records.add(), item)
        return request

    def count(self, item: Observed) -> int:  # noqa: ARG002 - an event is one log record, whichever
        """Number of log records that an event is encoded as."""
        return 1

    def _identity(self, entity: Entity) -> dict[str, str]:
        identity = {"netagent.entity.kind": entity.kind.value, **entity_labels(entity, self._node)}
        if entity.kind is EntityKind.POD:
            identity |= {"k8s.pod.name": entity.pod, "k8s.namespace.name": entity.namespace}
            identity |= {"k8s.pod.uid": entity.pod_uid} if entity.pod_uid else {}
        if entity.container_id:
            identity["container.id"] = entity.container_id
        return identity


def _is_of_own_pod(key: str) -> bool:
    """Whether a resource attribute tells which pod the agent runs in: an event's resource tells of another one."""
    return key.startswith(("k8s.", "container.")) and not key.startswith(("k8s.node.", "k8s.cluster."))


def _fill(record: LogRecord, item: Observed) -> None:
    event = item.event.event
    record.time_unix_nano = event.time_ns
    record.observed_time_unix_nano = item.time_ns
    record.severity_number = SeverityNumber.ValueType(event.type.severity.value)
    record.severity_text = event.type.severity.name
    record.event_name = event.type.event_name
    record.body.string_value = well_formed(item.event.line)
    add_attributes(record.attributes, event.attributes)
