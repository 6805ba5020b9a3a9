"""What every event record begins with (bpf/include/event.h)."""

from __future__ import annotations

from typing import NamedTuple

from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.bpf.layout import Layout


class EventHeader(NamedTuple):
    """Members of `struct event_header`."""

    time_ns: int
    netns_cookie: int
    netns_inode: int
    kind: int


def header_of(btf: Btf, structure: str) -> Layout[EventHeader]:
    """The header of a record whose structure has it as `header`."""
    return Layout(btf, structure, EventHeader, part="header")
