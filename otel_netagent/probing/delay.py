"""Delays of the node itself, as bpf/include/delay.h records them: as attributes of an event."""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.bpf.layout import Layout
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.model.event import EventType
from otel_netagent.probing.declaration import EventSettings
from otel_netagent.probing.duration import LATENCY, MILLISECOND_NS, NEVER_NS

SEPARATE_ABOVE_NS: Final = 100 * MILLISECOND_NS
"""Delays above 100 ms are events of a type of their own, instead of by the one whose threshold is configured."""

CPU: Final = Attribute("cpu.logical_number", int, "CPU that it happened on", before=" cpu=")


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


def delay_attributes(delay: Delay) -> dict[str, AttributeValue]:
    """What is the same of all delays; whose process it is depends on the delay."""
    return {CPU.name: delay.cpu, LATENCY.name: delay.latency_ns}
