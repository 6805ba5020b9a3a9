"""Joining a retransmission to the drop that made TCP send again, where this node saw both."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple, TypeAlias

from otel_netagent.model.attribute import AttributeValue
from otel_netagent.model.event import Event
from otel_netagent.probing.segment import DROP_LOCATION, DROP_REASON, RETRANSMITTED, SAME_SEGMENT, TCP_SEQUENCE

REMEMBERED: Final = 4096
"""Drops that are remembered: the last ones."""

_WITHIN_NS: Final = 120_000_000_000
"""How long the longest retransmission time-out is (TCP_RTO_MAX); after that a number may be another segment's."""

_KEY: Final = tuple(each.name for each in SAME_SEGMENT)

_Segment: TypeAlias = tuple[AttributeValue | None, ...]


class _Drop(NamedTuple):
    time_ns: int
    reason: AttributeValue
    location: AttributeValue


class DropCorrelator:
    """Remembers the last drops of TCP segments, by flow and sequence number.

    The two events come from different namespaces: the sender's, and the one on the path where the drop was. Where
    addresses are translated in between they do not match, and the retransmission stays as it is.
    """

    def __init__(self) -> None:
        """Know of no drop yet."""
        self._drops: OrderedDict[_Segment, _Drop] = OrderedDict()

    def joined(self, event: Event) -> Event:
        """The event; a retransmission with the last drop of the same segment, if there was one. In order of time."""
        attributes = event.attributes
        if TCP_SEQUENCE.name not in attributes:
            return event
        segment = tuple(map(attributes.get, _KEY))
        if DROP_REASON.name in attributes:
            drop = _Drop(event.time_ns, attributes[DROP_REASON.name], attributes[DROP_LOCATION.name])
            self._remember(segment, drop)
            return event
        cause = self._drops.get(segment) if RETRANSMITTED.name in attributes else None
        if cause is None or not 0 <= event.time_ns - cause.time_ns <= _WITHIN_NS:
            return event
        return event.adding({DROP_REASON.name: cause.reason, DROP_LOCATION.name: cause.location})

    def _remember(self, segment: _Segment, drop: _Drop) -> None:
        self._drops[segment] = drop
        self._drops.move_to_end(segment)
        if len(self._drops) > REMEMBERED:
            self._drops.popitem(last=False)
