"""What the agent must tell of a truth: the events, no fewer and no more, in a form that can be compared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lab.segments import Flag
from lab.truth import (
    Drop,
    Flow,
    Origin,
    ReceivedReset,
    Retransmission,
    SentReset,
    Slow,
    TimeWaitSegment,
    Truth,
)
from otel_netagent.model.event import Event
from tests.faults.judgement import is_event


@dataclass(frozen=True, slots=True)
class Told:
    """The facts of an event that a scenario determines."""

    netns: int
    type: str
    transport: str
    source: tuple[str, int]
    destination: tuple[str, int]
    state: str = ""
    reason: str = ""


_REASONS = ("netagent.tcp.reason", "netagent.drop.reason", "netagent.retransmission.segment")

_LATENCIES = {
    "SOCKETLAT_READSLOW",
    "SOCKETLAT_SENDSLOW",
    "RXKERNEL_SLOW",
    "TXKERNEL_SLOW",
    "NETIFTXLAT_QDISC",
    "NETIFTXLAT_XMIT",
}
"""Types of events that a busy machine causes too, each with the latency that it has measured."""

_MLD_ROUTERS = "ff02::16"
"""Where multicast listener reports go (RFC 3810, 5.2.14)."""

_RECEIVED = {
    "TCP_SYN_SENT": "TCP_RCV_RST_SYN",
    "TCP_SYN_RECV": "TCP_RCV_RST_SYN",
    "TCP_ESTABLISHED": "TCP_RCV_RST_ESTAB",
    "TCP_CLOSE_WAIT": "TCP_RCV_RST_ESTAB",
}
"""By the state of the socket; any other means that it was closing."""


def expected(truth: Truth) -> Counter[Told]:
    """All events that the truth must cause."""
    resets = [*map(_sent, truth.sent_resets), *map(_received, truth.received_resets)]
    drops = (told for drop in truth.drops for told in _dropped(drop))
    late = (told for segment in truth.time_wait for told in _in_time_wait(segment))
    return Counter([*resets, *drops, *late, *map(_retransmitted, truth.retransmissions), *map(_slow, truth.slow)])


def told(events: Iterable[Event], truth: Truth) -> Counter[Told]:
    """The same form of what was told, without what the kernel itself sends when an interface comes up.

    Nor with slowness that the scenario did not make, of another flow or shorter: a busy machine is slow at any time. So
    are scenarios, and what nobody acknowledges meanwhile is sent again, however often: that counts once, where they
    make it.
    """
    least_ns = {_slow(each): each.least_ns for each in truth.slow}
    found = Counter(
        _told(event)
        for event in events
        if event.attributes.get("destination.address") != _MLD_ROUTERS
        and (event.type.name not in _LATENCIES or _latency_ns(event) >= least_ns.get(_told(event), math.inf))
        and (truth.retransmissions or event.type.name != "TCPRETRANS")
    )
    return Counter({each: 1 if each.type == "TCPRETRANS" else times for each, times in found.items()})


def too_slow(events: Iterable[Event], truth: Truth) -> list[Event]:
    """Events of the slowness that the scenario made, whose latency is longer than it can be."""
    most_ns = {_slow(each): each.most_ns for each in truth.slow}
    return [
        event
        for event in events
        if event.type.name in _LATENCIES and _latency_ns(event) > most_ns.get(_told(event), math.inf)
    ]


def _sent(reset: SentReset) -> Told:
    # Without a socket there is only the segment that came in; with one, the source is its own end.
    flow = reset.segment.reversed() if reset.origin is Origin.NO_SOCKET else reset.segment
    return _of_flow(reset.netns, f"TCPRESET_{reset.origin.value}", flow, reset.state, reset.reason)


def _received(reset: ReceivedReset) -> Told:
    return _of_flow(reset.netns, _RECEIVED.get(reset.state, "TCP_RCV_RST_TW"), reset.segment.reversed(), reset.state)


def _dropped(drop: Drop) -> Iterator[Told]:
    if is_event(drop.reason):
        yield from [_of_flow(drop.netns, "PACKETLOSS", drop.flow, reason=drop.reason)] * drop.count


def _in_time_wait(segment: TimeWaitSegment) -> Iterator[Told]:
    """A bare ACK is no fault; what resets FIN_WAIT2 is told as that."""
    if segment.flags != Flag.ACK and segment.state == "TCP_TIME_WAIT":
        yield _of_flow(segment.netns, "TCP_TW_RCV", segment.segment)


def _retransmitted(retransmission: Retransmission) -> Told:
    return _of_flow(
        retransmission.netns, "TCPRETRANS", retransmission.segment, retransmission.state, retransmission.part
    )


def _slow(slow: Slow) -> Told:
    return _of_flow(slow.netns, slow.type, slow.flow)


def _latency_ns(event: Event) -> int:
    return int(event.attributes["netagent.latency_ns"])


def _of_flow(netns: int, kind: str, flow: Flow, state: str = "", reason: str = "") -> Told:
    source, destination = flow.source, flow.destination
    return Told(
        netns,
        kind,
        flow.protocol.lower(),
        (source.address, source.port),
        (destination.address, destination.port),
        state,
        reason,
    )


def _told(event: Event) -> Told:
    attributes = event.attributes
    return Told(
        event.netns,
        event.type.name,
        str(attributes["network.transport"]),
        (str(attributes.get("source.address", "")), int(attributes.get("source.port", 0))),
        (str(attributes.get("destination.address", "")), int(attributes.get("destination.port", 0))),
        str(attributes.get("netagent.tcp.state", "")),
        next((str(attributes[name]) for name in _REASONS if name in attributes), ""),
    )
