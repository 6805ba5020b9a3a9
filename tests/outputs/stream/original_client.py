"""A client of ACK Net Exporter: built from `original.proto`, knowing nothing of what was added."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

ORIGINAL = Path(__file__).with_name("original.proto")


def protoc(*arguments: str) -> None:
    """Run the protocol compiler."""
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)


def descriptor_of(proto: Path, root: Path) -> descriptor_pb2.FileDescriptorProto:
    """What the protocol compiler makes of a file, named relative to `root`."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "set"
        protoc(f"-I{root}", f"--descriptor_set_out={out}", str(proto))
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]


@functools.cache
def message(name: str) -> type[Message]:
    """A message class of the original, in a pool of its own: the agent's messages have the same names."""
    return _messages()[f"proto.{name}"]


@functools.cache
def _messages() -> dict[str, type[Message]]:
    return message_factory.GetMessages([descriptor_of(ORIGINAL, ORIGINAL.parent)], descriptor_pool.DescriptorPool())


class Call(Iterator[Any], Protocol):
    """A stream of replies."""

    def cancel(self) -> None:
        """Leave."""


class OriginalClient:
    """The original's stub on a connection to 127.0.0.1."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """Connect at the first call."""
        self.channel = grpc.insecure_channel(f"{host}:{port}")
        self._watch = self.channel.unary_stream(
            "/proto.inspector/WatchEvent",
            request_serializer=message("WatchRequest").SerializeToString,
            response_deserializer=message("WatchReply").FromString,
        )
        self._query = self.channel.unary_unary(
            "/proto.inspector/QueryMetric",
            request_serializer=message("QueryMetricRequest").SerializeToString,
            response_deserializer=message("QueryMetricResponse").FromString,
        )

    def watch(self, name: str = "", **meta: str) -> Call:
        """A stream that the server has accepted, or the one whose iteration tells why it has not."""
        request = message("WatchRequest")(name=name, filter=message("Meta")(**meta))
        call = self._watch(request, timeout=60)
        call.initial_metadata()
        return cast(Call, call)

    def query(self, name: str = "", **meta: str) -> tuple[str, list[Any]]:
        """Name and metrics of the answer."""
        request = message("QueryMetricRequest")(name=name, filter=message("Meta")(**meta))
        answer: Any = self._query(request, timeout=60)
        return answer.name, list(answer.metrics)

    def close(self) -> None:
        """End the connection and every stream on it."""
        self.channel.close()
