"""A receiver of log records by OTLP, in a process of its own: it marks which events have come."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Any, Final, Self

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from lab.waiting import eventually
from tests.agent.running import free_port

_SERVICE: Final = "opentelemetry.proto.collector.logs.v1.LogsService"
_SPAWN: Final = multiprocessing.get_context("spawn")


class Receiver:
    """Runs within the `with` block, and knows which of `total` events have come."""

    def __init__(self, total: int, number_of: Callable[[LogRecord], int | None]) -> None:
        """`number_of`, a function of a module, tells which event a record is; None for one that is not counted."""
        self._seen = _SPAWN.RawArray(ctypes.c_uint8, total)
        self._number_of = number_of
        self._port = free_port()
        self._process: BaseProcess | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._kill()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._port}"

    @property
    def missing(self) -> int:
        """Events that have not come so far."""
        return bytes(self._seen).count(0)

    @property
    def twice(self) -> int:
        """Events that have come more than once."""
        return len(self._seen) - bytes(self._seen).count(0) - bytes(self._seen).count(1)

    def fail(self, after_s: float, for_s: float) -> None:
        """Be killed, and be there again."""
        time.sleep(after_s)
        self._kill()
        time.sleep(for_s)
        self._begin()

    def _begin(self) -> None:
        self._process = _SPAWN.Process(target=_receive, args=(self._port, self._seen, self._number_of), daemon=True)
        self._process.start()
        eventually(self._listens, 30)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
            return True
        return False

    def _kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.join()


def _receive(port: int, seen: Any, number_of: Callable[[LogRecord], int | None]) -> None:  # noqa: ANN401 - of ctypes
    answer = ExportLogsServiceResponse().SerializeToString()

    def export(body: bytes, _: grpc.ServicerContext) -> bytes:
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    if (number := number_of(record)) is not None:
                        seen[number] += 1
        return answer

    handlers = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()
