"""Delays of the node itself, as bpf/include/delay.h records them: for the text line and for attributes."""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.bpf.layout import Layout
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.event import AttributeValue, EventType
from otel_netagent.probing.declaration import EventSettings
from otel_netagent.probing.duration import MILLISECOND_NS, NEVER_NS, duration_text

SEPARATE_ABOVE_NS: Final = 100 * MILLISECOND_NS
"""Delays above 100 ms are events of a type of their own, instead of by the one whose threshold is configured."""


class Delay(NamedTuple):
    """Members of `struct delay`."""

    latency_ns: int
    cpu: int
    pid: int
    command: bytes


def delay_of(btf: Btf, structure: str) -> Layout[Delay]:
    """The delay of a record whose structure has it as `delay`."""
    return Layout(btf, structure, Delay, part="delay")


def event_above_ns(events: EventSettings | None, slow: EventType) -> int:
    """The duration above which an event is emitted, of type `slow` or of the one for those above 100 ms."""
    return min(events.threshold_ns(slow), SEPARATE_ABOVE_NS) if events else NEVER_NS


def report_as_host(bpf_object: BpfObject, host: Namespace) -> None:
    """Have an object that is not loaded yet report its delays as those of the host's namespace."""
    bpf_object.variable("host_netns_cookie")[0] = host.cookie
    bpf_object.variable("host_netns_inode")[0] = host.inode


def delay_text(delay: Delay) -> str:
    """`cpu=N pid=N latency=37 ms`."""
    return f"cpu={delay.cpu} pid={delay.pid} latency={duration_text(delay.latency_ns)}"


def delay_attributes(delay: Delay) -> dict[str, AttributeValue]:
    """What is the same of all delays; whose process it is depends on the delay."""
    return {"cpu.logical_number": delay.cpu, "netagent.latency_ns": delay.latency_ns}
