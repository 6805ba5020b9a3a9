"""Events, entities and numbers to send through the stream, and how to wait for what comes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.model.event import Event, EventType
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Table
from tests.outputs.samples import TEXT

NODE = "node-7"
WEB = Entity(netns=4026531993, netns_cookie=7, kind=EntityKind.POD, pod="web-0", namespace="shop", start_ns=1)
DB = Entity(netns=4026532222, netns_cookie=8, kind=EntityKind.POD, pod="db-0", namespace="data", start_ns=1)

RESET = EventType(
    "TCPRESET_NOSOCK", "netagent.tcpreset.nosock", "a test says so", (TEXT,), aliases=("TCP_SEND_RST_NOSock",)
)
LOSS = EventType("PACKETLOSS", "netagent.packetloss", "a test says so", (TEXT,))
OTHER = EventType("OTHER", "netagent.other", "a test says so", (TEXT,))

OPENS = Series(
    "inspector_pod_tcpactiveopens",
    Kind.COUNTER,
    "{connection}",
    "h",
    "s",
    aliases=("inspector_pod_tcpactiveopenes",),
)
DROPS = Series("inspector_pod_packetloss", Kind.COUNTER, "{packet}", "h", "s", labels=("reason",))

SNAPSHOT = Snapshot(
    time_ns=1_700_000_000_000_000_007,
    entities={WEB.netns_cookie: WEB, DB.netns_cookie: DB},
    tables=(
        Table("tcp", (OPENS,), {(WEB.netns_cookie, ()): (2**24 + 1,), (DB.netns_cookie, ()): (5,)}),
        Table(
            "packetloss", (DROPS,), {(WEB.netns_cookie, ("NO_SOCKET",)): (3,), (WEB.netns_cookie, ("TCP_CSUM",)): (4,)}
        ),
    ),
)


def reset(
    entity: Entity = WEB, body: str = "protocol=TCP saddr=10.0.0.1 sport=80 daddr=10.0.0.2 dport=4000"
) -> AttributedEvent:
    """A TCPRESET_NOSOCK of `entity`."""
    return _event("tcpreset", RESET, 1_700_000_000_123_456_789, entity, body)


def loss(entity: Entity = WEB, body: str = "protocol=UDP reason=NO_SOCKET") -> AttributedEvent:
    """A PACKETLOSS of `entity`."""
    return _event("packetloss", LOSS, 1_700_000_001_000_000_000, entity, body)


def other(entity: Entity, body: str) -> AttributedEvent:
    """An event of a third type."""
    return _event("tcptwrcv", OTHER, 1, entity, body)


def _event(probe: str, kind: EventType, time_ns: int, entity: Entity, body: str) -> AttributedEvent:
    return AttributedEvent(Event(probe, kind, time_ns, entity.netns, 1, {TEXT.name: body}), entity)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return as soon as the condition holds; AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.005)
