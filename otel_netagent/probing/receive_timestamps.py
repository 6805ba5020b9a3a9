"""Where a packet's latency passed in the IP layer (bpf/include/receive_timestamps.h): as attributes of an event."""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.probing.attach import AttachMethod, Hook
from otel_netagent.probing.duration import duration_text


class Parts(NamedTuple):
    """Members of `struct parts`, in the order in which packets pass them; 0 where a part is not known."""

    prerouting_ns: int
    route_ns: int
    local_in_ns: int
    local_out_ns: int
    postrouting_ns: int


def _hook(purpose: str, *variants: tuple[str, ...]) -> Hook:
    """What is watched at the entries of all functions of a variant: a part lies between two of them."""
    return Hook(purpose, tuple(_method(variant, form) for form in ("fentry", "kprobe") for variant in variants))


def _method(functions: tuple[str, ...], form: str) -> AttachMethod:
    first, *others = (f"{function}_{form}" for function in functions)
    return AttachMethod(first, along=tuple(others))


_RECEIVING_IPV4: Final = ("ip_rcv", "ip_local_deliver", "ip_protocol_deliver_rcu")
_RECEIVING_IPV6: Final = ("ipv6_rcv", "ip6_route_input", "ip6_input", "ip6_protocol_deliver_rcu")

PART_HOOKS: Final = (
    _hook(
        "parts of receiving IPv4",
        ("tcp_v4_early_demux", "udp_v4_early_demux", "ip_route_input_noref", *_RECEIVING_IPV4),
        ("ip_rcv_finish_core", *_RECEIVING_IPV4),
    ),
    _hook("parts of receiving IPv6", ("tcp_v6_early_demux", "udp_v6_early_demux", *_RECEIVING_IPV6), _RECEIVING_IPV6),
    _hook("parts of sending IPv4", ("__ip_local_out", "ip_output", "ip_finish_output")),
    _hook("parts of sending IPv6", ("ip6_xmit", "ip6_output", "ip6_finish_output")),
)
"""What bpf/kernellatency.bpf.c watches for them, which says why kernels differ."""


def _part(name: str, where: str) -> Attribute:
    return Attribute(f"netagent.latency.{name}_ns", int, f"part of it in {where}", "ns", f" {name}=", duration_text)


PARTS: Final = (
    _part("prerouting", "PREROUTING (received packets)"),
    _part("route", "the routing decision (received packets)"),
    _part("local_in", "INPUT (received packets)"),
    _part("local_out", "OUTPUT (sent packets)"),
    _part("postrouting", "POSTROUTING (sent packets)"),
)
"""By the members of Parts."""


def parts_attributes(parts: Parts) -> dict[str, AttributeValue]:
    """Those that are known."""
    return {attribute.name: part for attribute, part in zip(PARTS, parts, strict=True) if part}
