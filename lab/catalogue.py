"""All faults that the laboratory can make, by the stage that they need."""

from __future__ import annotations

from typing import Any

from lab import (
    drops_arriving,
    drops_filtered,
    drops_full,
    drops_in_connections,
    drops_routing,
    healthy_tcp,
    resets_answering,
    resets_received,
    resets_sent,
    retransmissions,
    slow_paths,
    stale_nat,
    standstills,
    time_wait,
)
from lab.links import Pair, Router
from lab.scenario import Scenario
from lab.wire import Wire

ON_WIRE: tuple[Scenario[Wire], ...] = (
    *resets_received.ON_WIRE,
    *resets_sent.ON_WIRE,
    *resets_answering.ON_WIRE,
    *retransmissions.ON_WIRE,
    *time_wait.ON_WIRE,
    *drops_arriving.ON_WIRE,
    *drops_full.ON_WIRE,
    *drops_in_connections.ON_WIRE,
    *drops_routing.ON_WIRE,
    *slow_paths.ON_WIRE,
    *standstills.ON_WIRE,
)
ON_PAIR: tuple[Scenario[Pair], ...] = (
    *resets_sent.ON_PAIR,
    *drops_full.ON_PAIR,
    *drops_filtered.ON_PAIR,
    *slow_paths.ON_PAIR,
    *standstills.ON_PAIR,
)
ON_LOOPBACK: tuple[Scenario[Pair], ...] = (*resets_sent.ON_PAIR, *drops_full.SOCKETS_ON_PAIR)
ON_ROUTER: tuple[Scenario[Router], ...] = (
    *drops_routing.ON_ROUTER,
    *drops_filtered.ON_ROUTER,
    *stale_nat.ON_ROUTER,
)

QUIET_ON_WIRE: tuple[Scenario[Wire], ...] = (*time_wait.QUIET_ON_WIRE, *healthy_tcp.ON_WIRE)
"""What happens all day long and is no fault: nothing of it may be reported."""

QUIET_ON_PAIR: tuple[Scenario[Pair], ...] = healthy_tcp.ON_PAIR
"""The same between two kernels."""

FAULTS: tuple[Scenario[Any], ...] = (*ON_WIRE, *ON_PAIR, *ON_LOOPBACK, *ON_ROUTER)
HEALTHY: tuple[Scenario[Any], ...] = (*QUIET_ON_WIRE, *QUIET_ON_PAIR)
