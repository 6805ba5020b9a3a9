"""What Loki makes of logs by OTLP: its documentation, "Ingesting logs to Loki using OpenTelemetry Collector"."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from tests.outputs.loki.entry import Entry


def entries(body: bytes, indexed: Collection[str]) -> Iterator[Entry]:
    """Those of a request. Resource attributes of these names become labels, all others structured metadata."""
    for logs in ExportLogsServiceRequest.FromString(body).resource_logs:
        resource = {each.key: each for each in logs.resource.attributes}
        labels = _stored(resource[name] for name in indexed if name in resource)
        metadata = _stored(each for name, each in resource.items() if name not in indexed)
        for record in (record for scope in logs.scope_logs for record in scope.log_records):
            yield _entry(record, labels, metadata)


def _entry(record: LogRecord, labels: Mapping[str, str], metadata: Mapping[str, str]) -> Entry:
    """The field in which a record has the name of an event is not stored."""
    severity = {"severity_text": record.severity_text} if record.severity_text else {}
    metadata = {**metadata, **severity, **_stored(record.attributes)}
    return Entry(labels, record.time_unix_nano, record.body.string_value, metadata)


def _stored(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Dots of names become underscores, and values text."""
    return {each.key.replace(".", "_"): _text(each) for each in attributes}


def _text(attribute: KeyValue) -> str:
    kind = attribute.value.WhichOneof("value")
    assert kind in {"string_value", "int_value"}, attribute
    return str(getattr(attribute.value, kind))
