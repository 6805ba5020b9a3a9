"""The wire format is the original's, and the committed code is that of the committed .proto."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from google.protobuf import descriptor_pb2

from otel_netagent.outputs.stream import inspector_pb2 as pb
from otel_netagent.outputs.stream.service import EventStream
from tests.outputs.stream.original_client import ORIGINAL, descriptor_of, protoc
from tests.outputs.stream.samples import SNAPSHOT, reset, wait_until

ROOT = Path(__file__).parents[3]
PROTO = ROOT / "otel_netagent/outputs/stream/inspector.proto"
GENERATED = PROTO.with_name("inspector_pb2.py")


def test_committed_messages_are_those_of_the_proto() -> None:
    """By meaning and not by text, so that any version of the compiler may check it."""
    committed = descriptor_pb2.FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
    assert _without_json_names(descriptor_of(PROTO, ROOT)) == committed


def test_committed_type_stub_is_that_of_the_proto(tmp_path: Path) -> None:
    protoc(f"-I{ROOT}", f"--pyi_out={tmp_path}", str(PROTO))
    fresh = (tmp_path / PROTO.relative_to(ROOT)).with_name("inspector_pb2.pyi").read_text()
    committed = GENERATED.with_suffix(".pyi").read_text()
    assert ast.dump(ast.parse(fresh)) == ast.dump(ast.parse(committed))


def test_generated_code_runs_with_the_oldest_protobuf_that_the_project_allows() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (lowest,) = [match[1] for each in dependencies if (match := re.match(r"protobuf>=([\d.]+)", each))]
    generator = re.search(r"^# Protobuf Python Version: ([\d.]+)$", GENERATED.read_text(), re.MULTILINE)
    assert generator is not None
    oldest_of_major_6 = "6.30.0"
    assert generator[1] == oldest_of_major_6
    assert lowest.split(".")[0] == "6"


def test_everything_of_the_original_is_there_with_its_numbers_and_types() -> None:
    ours = descriptor_of(PROTO, ROOT)
    theirs = descriptor_of(ORIGINAL, ORIGINAL.parent)
    assert ours.package == theirs.package
    assert {method.name: (method.input_type, method.output_type) for method in ours.service[0].method} == {
        method.name: (method.input_type, method.output_type) for method in theirs.service[0].method
    }
    assert ours.service[0].name == theirs.service[0].name
    assert _fields(theirs) <= _fields(ours)


def _fields(file: descriptor_pb2.FileDescriptorProto) -> set[tuple[str, str, int, int, int, str]]:
    return {
        (message.name, field.name, field.number, field.type, field.label, field.type_name)
        for message in file.message_type
        for field in message.field
    }


def _without_json_names(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    """They follow from the names, and the Python generator leaves them out."""
    for message in file.message_type:
        for field in (*message.field, *(each for nested in message.nested_type for each in nested.field)):
            field.ClearField("json_name")
    return file


EXISTING_CLIENT = """
import sys
import grpc
import original_pb2 as pb
import original_pb2_grpc as rpc

with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = rpc.inspectorStub(channel)
    for metric in stub.QueryMetric(pb.QueryMetricRequest(name="tcp", filter=pb.Meta(pod="db-0"))).metrics:
        print(metric.name, metric.meta.pod, metric.value)
    reply = next(iter(stub.WatchEvent(pb.WatchRequest(), timeout=60)))
    meta = reply.event.meta
    print(reply.name, reply.event.name, meta.namespace, meta.pod, meta.node, meta.netns, reply.event.value)
"""


def test_existing_client_built_by_the_grpc_code_generator_works(stream: EventStream, tmp_path: Path) -> None:
    protoc(f"-I{ORIGINAL.parent}", f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}", str(ORIGINAL))
    (tmp_path / "client.py").write_text(EXISTING_CLIENT)
    stream.publish_snapshot(SNAPSHOT)
    with subprocess.Popen(
        [sys.executable, "client.py", f"127.0.0.1:{stream.port}"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as client:
        wait_until(lambda: stream.subscribers == 1)
        stream.publish(reset(body="reason=X"))
        output, _ = client.communicate(timeout=30)
    assert output.splitlines() == [
        "inspector_pod_tcpactiveopens db-0 5.0",
        "TCPRESET_NOSOCK TCPRESET_NOSOCK shop web-0 node-7 ns4026531993 reason=X",
    ]
