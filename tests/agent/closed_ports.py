"""The commonest fault: a packet for a port that no one listens at, and what the agent must tell of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeAlias

from lab.sockets import datagram, port_of, stream
from lab.truth import Family
from tests.agent.running import Told
from tests.agent.stage import Stage

Fault: TypeAlias = Callable[[Stage, Family], list[Told]]
"""Makes a fault, and returns what must be told of it."""

_CLOSED_PORT = 9
"""In a new namespace no one listens at any."""


def closed_tcp_port(stage: Stage, family: Family) -> list[Told]:
    """A connection that is refused: told at both ends, with the connection as the client sees it."""
    with stream(stage.pair.client, family) as caller, contextlib.suppress(ConnectionRefusedError):
        flow = _flow("TCP", stage, family, port_of(caller))
        caller.connect(_server(stage, family))
    return [
        Told(stage.server, "PACKETLOSS", f"{flow} reason:NO_SOCKET"),
        Told(stage.server, "TCPRESET_NOSOCK", f"{flow} reason:NO_SOCKET"),
        Told(stage.client, "TCP_RCV_RST_SYN", f"{flow} state:TCP_SYN_SENT"),
    ]


def closed_udp_port(stage: Stage, family: Family, times: int = 1) -> list[Told]:
    """Datagrams that no one takes: told where they were dropped."""
    with datagram(stage.pair.client, family) as sender:
        flow = _flow("UDP", stage, family, port_of(sender))
        for _ in range(times):
            sender.sendto(b"data", _server(stage, family))
    return [Told(stage.server, "PACKETLOSS", f"{flow} reason:NO_SOCKET")] * times


def _server(stage: Stage, family: Family) -> tuple[str, int]:
    return family.socket_address(stage.pair.server.address(family)), _CLOSED_PORT


def _flow(protocol: str, stage: Stage, family: Family, sport: int) -> str:
    source, destination = stage.pair.client.address(family), stage.pair.server.address(family)
    return f"protocol={protocol} saddr={source} sport={sport} daddr={destination} dport={_CLOSED_PORT}"
