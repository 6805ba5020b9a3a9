"""What counts latencies, against the events of the same packets and standstills."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from otel_netagent.model.event import Event

_MS: Final = 1_000_000

_COUNTERS: Final = {
    "netiftxlatqdiscslow100ms": ("NETIFTXLAT_QDISC", 100),
    "netiftxlatnetdevslow100ms": ("NETIFTXLAT_XMIT", 100),
    "kernellatency_rxslow": ("RXKERNEL_SLOW", 10),
    "kernellatency_rxslow100ms": ("RXKERNEL_SLOW", 100),
    "kernellatency_txslow": ("TXKERNEL_SLOW", 10),
    "kernellatency_txslow100ms": ("TXKERNEL_SLOW", 100),
    "socketlatencyread100ms": ("SOCKETLAT_READSLOW", 100),
    "socketlatencywrite100ms": ("SOCKETLAT_SENDSLOW", 100),
}
"""What each counts: events of a type, whose latency is above so many milliseconds."""


def counted(values: Mapping[str, int]) -> dict[str, int]:
    """What the counters have of those probes that run."""
    return {name: values[f"inspector_pod_{name}"] for name in _COUNTERS if f"inspector_pod_{name}" in values}


def told(events: Iterable[Event], counters: Iterable[str]) -> dict[str, int]:
    """What these must have, by the events of the same namespace."""
    latencies = [
        (event.type.name, int(event.attributes["netagent.latency_ns"]))
        for event in events
        if "netagent.latency_ns" in event.attributes
    ]
    return {
        name: sum(each == kind and latency_ns > bound_ms * _MS for each, latency_ns in latencies)
        for name, (kind, bound_ms) in ((name, _COUNTERS[name]) for name in counters)
    }
