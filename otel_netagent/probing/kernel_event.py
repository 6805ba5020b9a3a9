"""What every event record begins with (bpf/include/event.h)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.bpf.layout import Layout
from otel_netagent.model.attribute import AttributeValue
from otel_netagent.model.event import Event, EventType


class EventHeader(NamedTuple):
    """Members of `struct event_header`."""

    time_ns: int
    netns_cookie: int
    netns_inode: int
    kind: int

    def event(
        self,
        probe: str,
        event_type: EventType,
        monotonic_to_unix_ns: int,
        attributes: Mapping[str, AttributeValue],
    ) -> Event:
        """The event that begins so: of this type, at the time and in the namespace that the header tells."""
        time_ns = self.time_ns + monotonic_to_unix_ns
        return Event(probe, event_type, time_ns, self.netns_inode, self.netns_cookie, attributes)


def header_of(btf: Btf, structure: str) -> Layout[EventHeader]:
    """The header of a record whose structure has it as `header`."""
    return Layout(btf, structure, EventHeader, part="header")
