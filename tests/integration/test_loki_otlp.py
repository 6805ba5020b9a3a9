"""What the collector sends to Loki, held against a strict server that plays it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from lab.waiting import eventually
from otel_netagent.outputs.otlp.attributes import add_attributes
from tests.integration.log_queries import ARRIVAL_S
from tests.integration.sending import send_event
from tests.outputs.loki import server
from tools.stack.loki import Loki
from tools.stack.programs import CONFIGURATION
from tools.stack.services import HOST, Stack

pytestmark = pytest.mark.integration

_FILES: Mapping[str, Sequence[str]] = {"agent.yaml": (), "gateway.yaml": ("gateway.yaml",)}
_BACKENDS = {"GATEWAY_SERVICE": HOST, "ARMS_REMOTE_WRITE_URL": "http://127.0.0.1:9/write"}


@pytest.mark.parametrize("files", _FILES.values(), ids=list(_FILES))
def test_event_arrives_with_labels_metadata_line_time_and_tenant(files: Sequence[str], stack: Stack) -> None:
    record = LogRecord(time_unix_nano=time.time_ns(), event_name="netagent.packetloss", severity_text="WARN")
    record.body.CopyFrom(AnyValue(string_value="type=PACKETLOSS pod=web-0"))
    add_attributes(record.attributes, {"source.address": "10.1.17.188", "source.port": 33488})
    known = {"pod": "web-0", "node": "n1", "k8s.deployment.name": "web", "k8s.cluster.name": "c1", "netns": "ns7"}
    told = {**_BACKENDS, "LOKI_AUTHORIZATION": "Bearer x", "LOKI_TENANT": "net"}
    with server.serving(server.Loki(indexed=_indexed())) as loki:
        here = replace(stack, log_store=Loki(Path("loki"), stack.directory, port=loki.port))
        with here.collector(*files, **told):
            send_event(here, record, **known)
            (entry,) = eventually(lambda: list(loki.entries), ARRIVAL_S)
    assert entry.labels == {
        "service_name": "otel-netagent",
        "cluster": "c1",
        "namespace": "n",
        "pod": "web-0",
        "node": "n1",
        "workload": "web",
    }
    expected = {"event_name": "netagent.packetloss", "source_address": "10.1.17.188", "source_port": "33488"}
    assert entry.metadata.items() >= {**expected, "netns": "ns7", "severity_text": "WARN"}.items()
    assert (entry.line, entry.time_ns) == (record.body.string_value, record.time_unix_nano)
    assert loki.headers[-1].items() >= {"x-scope-orgid": "net", "authorization": "Bearer x"}.items()


def _indexed() -> Sequence[str]:
    """Of the file that Loki is configured by."""
    limits = yaml.safe_load((CONFIGURATION / "loki.yaml").read_text())["limits_config"]
    (rule,) = limits["otlp_config"]["resource_attributes"]["attributes_config"]
    assert rule["action"] == "index_label"
    attributes: Sequence[str] = rule["attributes"]
    return attributes
