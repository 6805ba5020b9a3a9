"""A port that is taken is one clear error."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from otel_netagent.outputs.stream.service import EventPortError, EventStream
from tests.outputs.stream.original_client import OriginalClient
from tests.outputs.stream.samples import NODE


def test_port_of_another_agent(stream: EventStream, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EventPortError) as error:
        EventStream(NODE, stream.port)
    assert str(error.value) == (
        f"event_config.port: cannot listen on port {stream.port}: Address already in use; free it "
        f"(`ss -ltnp sport = :{stream.port}` shows who holds it), set another port, or set event_config.enable to false"
    )
    assert capfd.readouterr().err == "", "gRPC's own log line says the same, worse"


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")])  # noqa: S104
def test_port_taken_in_one_address_family_only(family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family) as holder:
        if family is socket.AF_INET6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        holder.bind((address, 0))
        holder.listen()
        with pytest.raises(EventPortError, match="Address already in use"):
            EventStream(NODE, holder.getsockname()[1])


def test_port_is_free_again_at_once_although_clients_were_connected(connect: Callable[..., OriginalClient]) -> None:
    with EventStream(NODE, 0) as first:
        connect(first.port).watch()
    with EventStream(NODE, first.port) as second:
        assert second.port == first.port
