"""What the agent must tell of a truth: the events, no fewer and no more, in a form that can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from otel_netagent.probing.drop_reasons import ORDINARY
from otel_netagent.telemetry.event import Event
from tests.lab.truth import Drop, Flow, Origin, ReceivedReset, SentReset, Truth


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
    return Counter([*resets, *(told for drop in truth.drops for told in _dropped(drop))])


def told(events: Iterable[Event]) -> Counter[Told]:
    """The same form of what was told, without what the kernel itself sends when an interface comes up."""
    return Counter(_told(event) for event in events if event.attributes.get("destination.address") != _MLD_ROUTERS)


def _sent(reset: SentReset) -> Told:
    # Without a socket there is only the segment that came in; with one, the source is its own end.
    flow = reset.segment.reversed() if reset.origin is Origin.NO_SOCKET else reset.segment
    return _of_flow(reset.netns, f"TCPRESET_{reset.origin.value}", flow, reset.state, reset.reason)


def _received(reset: ReceivedReset) -> Told:
    return _of_flow(reset.netns, _RECEIVED.get(reset.state, "TCP_RCV_RST_TW"), reset.segment.reversed(), reset.state)


def _dropped(drop: Drop) -> Iterator[Told]:
    if drop.reason not in ORDINARY:
        yield from [_of_flow(drop.netns, "PACKETLOSS", drop.flow, reason=drop.reason)] * drop.count


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
        str(attributes.get("netagent.tcp.reason", attributes.get("netagent.drop.reason", ""))),
    )
