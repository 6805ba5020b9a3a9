"""Joining a retransmission to the drop that made TCP send again, where this node saw both."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple, TypeAlias

from otel_netagent.model.event import AttributeValue, Event

REMEMBERED: Final = 4096
"""Drops that are remembered: the last ones."""

_WITHIN_NS: Final = 120_000_000_000
"""How long the longest retransmission time-out is (TCP_RTO_MAX); after that a number may be another segment's."""

_FLOW: Final = ("source.address", "source.port", "destination.address", "destination.port", "netagent.tcp.sequence")
_DROP: Final = "netagent.drop.reason"
_RETRANSMISSION: Final = "netagent.retransmission.segment"

_Segment: TypeAlias = tuple[AttributeValue | None, ...]


class _Drop(NamedTuple):
    time_ns: int
    reason: AttributeValue
    location: AttributeValue


class Causes:
    """The drops of TCP segments that were told last, by flow and number.

    The two are told in different namespaces: the sender's, and wherever on the way the drop was. Where addresses are
    translated in between they do not meet, and nothing is said.
    """

    def __init__(self) -> None:
        """Know of no drop yet."""
        self._drops: OrderedDict[_Segment, _Drop] = OrderedDict()

    def joined(self, event: Event) -> Event:
        """The event; a retransmission with the last drop of the same segment, if there was one. In order of time."""
        attributes = event.attributes
        if "netagent.tcp.sequence" not in attributes:
            return event
        segment = tuple(map(attributes.get, _FLOW))
        if _DROP in attributes:
            self._remember(segment, _Drop(event.time_ns, attributes[_DROP], attributes["netagent.drop.location"]))
            return event
        drop = self._drops.get(segment) if _RETRANSMISSION in attributes else None
        if drop is None or not 0 <= event.time_ns - drop.time_ns <= _WITHIN_NS:
            return event
        return event._replace(
            attributes={**attributes, _DROP: drop.reason, "netagent.drop.location": drop.location},
            body=f"{event.body} drop:{drop.reason} at:{drop.location}",
        )

    def _remember(self, segment: _Segment, drop: _Drop) -> None:
        self._drops[segment] = drop
        self._drops.move_to_end(segment)
        if len(self._drops) > REMEMBERED:
            self._drops.popitem(last=False)
