"""Where a packet's latency passed in the IP layer, as bpf/include/hops.h finds it: for the text line and attributes."""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_netagent.probing.attach import Hook, Way
from otel_netagent.probing.delay import latency_text
from otel_netagent.telemetry.event import AttributeValue


class Parts(NamedTuple):
    """Members of `struct parts`, in the order in which packets pass them; 0 where a part is not known."""

    prerouting_ns: int
    route_ns: int
    local_in_ns: int
    local_out_ns: int
    postrouting_ns: int


def _hook(purpose: str, *functions: str) -> Hook:
    """What is watched at the entries of all these functions; a part lies between two of them."""
    fentry, kprobe = ([f"{function}_{form}" for function in functions] for form in ("fentry", "kprobe"))
    return Hook(purpose, tuple(Way(first, along=tuple(others)) for first, *others in (fentry, kprobe)))


HOPS: Final = (
    _hook("parts of receiving IPv4", "ip_rcv", "ip_rcv_finish", "ip_local_deliver", "ip_local_deliver_finish"),
    _hook("parts of receiving IPv6", "ipv6_rcv", "ip6_rcv_finish", "ip6_input", "ip6_input_finish"),
    _hook("parts of sending IPv4", "__ip_local_out", "ip_output", "ip_finish_output"),
    _hook("parts of sending IPv6", "ip6_xmit", "ip6_output", "ip6_finish_output"),
)
"""What an object that includes hops.h watches."""


def parts_text(parts: Parts, sign: str) -> str:
    """` local_out=35 ms postrouting=820 us` of those that are known, each after a space."""
    return "".join(f" {name}{sign}{latency_text(part)}" for name, part in _known(parts).items())


def parts_attributes(parts: Parts) -> dict[str, AttributeValue]:
    """Those that are known."""
    return {f"netagent.latency.{name}_ns": part for name, part in _known(parts).items()}


def _known(parts: Parts) -> dict[str, int]:
    """By their names without the unit."""
    return {name.removesuffix("_ns"): part for name, part in parts._asdict().items() if part}
