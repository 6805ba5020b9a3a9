"""Events as OTLP log records.

Requests are joined from encoded fragments, most of which are the same from one event to the next: a
message's encoding may be given in pieces, which the decoder merges, and its repeated fields add up
(Protocol Buffers documentation, "Encoding", "Last One Wins"). The fragments come from the protobuf
library; put together by hand is only what has another message within it, and what is new in every event:
its times, its line, and attributes that are numbers.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.sdk.resources import Resource

from otel_netagent import __version__
from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.identity.entity import Entity
from otel_netagent.model.attribute import AttributeValue
from otel_netagent.model.event import EventType, Severity
from otel_netagent.outputs.otlp.attributes import INT64, add_attributes, entity_attributes, scope_name
from otel_netagent.outputs.otlp.dividing import halves_of_logs, pods_of_logs
from otel_netagent.outputs.otlp.wire import fixed_tag, framed, integer_field, message_field
from otel_netagent.outputs.sending.request import EncodedRequest, PodName
from otel_netagent.unicode import well_formed

_REQUEST_RESOURCE: Final = ExportLogsServiceRequest.RESOURCE_LOGS_FIELD_NUMBER
_RESOURCE_SCOPE: Final = ResourceLogs.SCOPE_LOGS_FIELD_NUMBER
_SCOPE_RECORD: Final = ScopeLogs.LOG_RECORDS_FIELD_NUMBER

_TIME: Final = fixed_tag(LogRecord.TIME_UNIX_NANO_FIELD_NUMBER)
_OBSERVED_TIME: Final = fixed_tag(LogRecord.OBSERVED_TIME_UNIX_NANO_FIELD_NUMBER)
_TIMES: Final = struct.Struct("<cQcQ")

_KEPT_ENTITIES: Final = 512
_KEPT_ATTRIBUTES: Final = 8_192
"""Fragments kept: attributes with their values, which recur as ports, addresses, reasons and stacks do."""


class Observed(NamedTuple):
    """An event, and the Unix time in ns at which the agent received it."""

    event: AttributedEvent
    time_ns: int


class LogsEncoder:
    """Encodes events as log records: a resource for each entity, where Loki indexes it, and a scope for each probe.

    Not thread-safe, except `contents` and `halves`.
    """

    def __init__(self, resource: Resource, node: str) -> None:
        """Encode for the agent that this resource describes, on the node of this name."""
        self._agent = {key: str(value) for key, value in resource.attributes.items() if not _is_of_own_pod(key)}
        self._node = node
        self._resource = functools.lru_cache(_KEPT_ENTITIES)(self._encoded_resource)
        self._types: dict[tuple[str, Severity], bytes] = {}  # bounded: two severities for each declared type
        self._keys: dict[str, bytes] = {}  # bounded likewise
        self._attribute = functools.lru_cache(_KEPT_ATTRIBUTES)(self._encoded_attribute)

    def encode(self, items: Sequence[Observed]) -> list[EncodedRequest]:
        """One request with all these events."""
        scopes: dict[tuple[int, str], list[bytes]] = {}
        resources: dict[Entity, dict[str, list[bytes]]] = {}
        for item in items:
            event, entity = item.event.event, item.event.entity
            # By identity first: hashing an entity costs as much as encoding an attribute.
            records = scopes.get((id(entity), event.probe))
            if records is None:
                records = resources.setdefault(entity, {}).setdefault(event.probe, [])
                scopes[id(entity), event.probe] = records
            records.append(self._record(item))
        parts: list[bytes] = []
        for entity, by_probe in resources.items():
            parts += framed(_REQUEST_RESOURCE, (self._resource(entity), *_scopes(by_probe)))
        return [EncodedRequest(b"".join(parts), len(items))]

    def count(self, item: Observed) -> int:  # noqa: ARG002 - an event is one log record, whichever
        """Number of log records that an event is encoded as."""
        return 1

    def pod(self, item: Observed) -> PodName:
        """The pod that the event happened to."""
        return PodName(item.event.entity.namespace, item.event.entity.pod)

    def contents(self, request: EncodedRequest) -> Mapping[PodName, int]:
        """Number of log records of each pod in a request."""
        return pods_of_logs(request)

    def halves(self, request: EncodedRequest) -> tuple[EncodedRequest, EncodedRequest] | None:
        """The same as two requests; None if there is only one log record."""
        return halves_of_logs(request)

    def _record(self, item: Observed) -> bytes:
        event = item.event.event
        times = _TIMES.pack(_TIME, event.time_ns, _OBSERVED_TIME, item.time_ns)
        line = message_field(AnyValue.STRING_VALUE_FIELD_NUMBER, well_formed(item.event.line).encode())
        kind = self._types.get((event.type.event_name, event.type.severity)) or self._encoded_type(event.type)
        attributes = map(self._attribute, event.attributes, event.attributes.values())
        body = message_field(LogRecord.BODY_FIELD_NUMBER, line)
        return message_field(_SCOPE_RECORD, b"".join((times, kind, body, *attributes)))

    def _encoded_type(self, event_type: EventType) -> bytes:
        record = LogRecord(
            severity_number=SeverityNumber.ValueType(event_type.severity.value),
            severity_text=event_type.severity.name,
            event_name=event_type.event_name,
        )
        self._types[event_type.event_name, event_type.severity] = encoded = record.SerializeToString()
        return encoded

    def _encoded_attribute(self, key: str, value: AttributeValue) -> bytes:
        if isinstance(value, int) and value in INT64:
            # By hand, at a third of the cost: ports, processes and latencies rarely repeat.
            number = integer_field(AnyValue.INT_VALUE_FIELD_NUMBER, value)
            pair = self._encoded_key(key) + message_field(KeyValue.VALUE_FIELD_NUMBER, number)
            return message_field(LogRecord.ATTRIBUTES_FIELD_NUMBER, pair)
        record = LogRecord()
        add_attributes(record.attributes, {key: value})
        return record.SerializeToString()

    def _encoded_key(self, key: str) -> bytes:
        if key not in self._keys:
            self._keys[key] = KeyValue(key=key).SerializeToString()
        return self._keys[key]

    def _encoded_resource(self, entity: Entity) -> bytes:
        message = ResourceLogs()
        add_attributes(message.resource.attributes, self._agent | entity_attributes(entity, self._node))
        return message.SerializeToString()


def _is_of_own_pod(key: str) -> bool:
    """Whether a resource attribute describes the agent's own pod: an event's resource describes another one."""
    return key.startswith(("k8s.", "container.")) and not key.startswith(("k8s.node.", "k8s.cluster."))


def _scopes(by_probe: Mapping[str, Sequence[bytes]]) -> Iterator[bytes]:
    """The scopes of a resource, in parts, so that megabytes are copied only once."""
    for probe, records in by_probe.items():
        yield from framed(_RESOURCE_SCOPE, (_encoded_scope(probe), *records))


def _encoded_scope(probe: str) -> bytes:
    return ScopeLogs(scope=InstrumentationScope(name=scope_name(probe), version=__version__)).SerializeToString()
