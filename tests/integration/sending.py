"""What an agent would send to the collector, sent by a test: of pods that this machine does not have."""

from __future__ import annotations

from http import HTTPStatus

import requests
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from lab.waiting import eventually
from otel_netagent.outputs.otlp.attributes import add_attributes
from tests.integration.log_queries import ARRIVAL_S
from tools.stack.services import HOST, Stack

_POD = {"service.name": "otel-netagent", "pod": "p", "namespace": "n"}


def send_event(stack: Stack, record: LogRecord, **resource: str) -> None:
    """Of a pod of which this is known too, or otherwise.

    A gateway that has just started knows none of its instances for a moment: it is asked again, as an agent does.
    """
    request = ExportLogsServiceRequest()
    logs = request.resource_logs.add()
    add_attributes(logs.resource.attributes, {**_POD, **resource})
    logs.scope_logs.add().log_records.append(record)
    url = f"http://{HOST}:{stack.ports.otlp_http}/v1/logs"
    headers = {"Content-Type": "application/x-protobuf"}

    def accepted() -> bool:
        answer = requests.post(url, request.SerializeToString(), headers=headers, timeout=ARRIVAL_S)
        assert answer.status_code in {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}, answer.text
        return answer.ok

    eventually(accepted, ARRIVAL_S)
