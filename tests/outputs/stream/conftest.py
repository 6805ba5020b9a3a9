"""A running stream, and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from otel_netagent.outputs.stream.service import EventStream
from tests.outputs.stream.original_client import OriginalClient
from tests.outputs.stream.samples import NODE


@pytest.fixture
def stream() -> Iterator[EventStream]:
    with EventStream(NODE, 0) as stream:
        yield stream


@pytest.fixture
def connect() -> Iterator[Callable[..., OriginalClient]]:
    """Makes clients of a stream's port, and closes them."""
    clients: list[OriginalClient] = []

    def make(port: int, host: str = "127.0.0.1") -> OriginalClient:
        clients.append(OriginalClient(port, host))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(stream: EventStream, connect: Callable[..., OriginalClient]) -> OriginalClient:
    return connect(stream.port)
