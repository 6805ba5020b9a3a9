"""How long packets are under way in the kernel: from their receipt to the socket, and from TCP to the device.

Opt-in: each segment costs 0.1 us when it is sent and 0.1 us when it is received, each datagram
0.2 us (Linux 6.18 in a virtual machine, `kernel.bpf_stats_enabled`); and while it runs, the kernel reads the clock for
every packet that comes to the machine.

What is received is measured of TCP (in connections that are established) and UDP, what is sent of TCP, since only TCP
notes in a packet when it set out. Segments from a socket of the same machine bear that time until the end of the
receiver's IP layer (Linux 5.18): of these only what follows is seen as receipt.

Where the kernel's functions can be traced (fentry, kprobe), an event also says how much of the latency passed in
which part of the IP layer; elsewhere the probe is degraded, and its events have no parts. What the parts leave over
passed before or after: of receipt in the softirq before the IP layer or at the socket, of sending at the neighbour or
in the queue. The costs above are without them: a packet passes four to five such functions when it is received, and
three when it is sent.

A part that is not known is left out: PREROUTING of packets that a driver hands over in lists, that and ROUTE of TCP
over IPv6 on the newest kernels (7.2; not yet 6.18), and all parts of a packet that is divided before its device.

Before 6.1 the kernel has no clock that follows the steps of the wall clock: latencies of what is received are then
wrong by such a step, until the next collection.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from functools import partial
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.layout import Layout
from otel_netagent.kernel.clock import to_unix_ns
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.model.event import EventType, Guidance
from otel_netagent.model.table import HistogramTable, Table
from otel_netagent.probing.attach import AttachMethod, Hook, attach, kernel_of
from otel_netagent.probing.capability import EBPF
from otel_netagent.probing.declaration import Environment, Probe
from otel_netagent.probing.duration import LATENCY
from otel_netagent.probing.flow import FLOW
from otel_netagent.probing.latency import (
    Above,
    Latency,
    RunningLatencies,
    latency_counter,
    series_of,
    set_bounds,
)
from otel_netagent.probing.receive_timestamps import PART_HOOKS, PARTS, Parts, parts_attributes

_SO_TIMESTAMPNS: Final = 35
"""asm-generic/socket.h; Python's socket module does not name it."""

_SECOND_NS: Final = 1_000_000_000

_RX_SOURCE: Final = "eBPF, from the packet's receive time stamp to tcp:tcp_probe, or to a datagram's socket"
_TX_SOURCE: Final = "eBPF, from TCP's time stamp in the packet to net:net_dev_start_xmit"


def _counters(direction: str, meaning: str, source: str) -> tuple[Above, ...]:
    name = f"kernellatency_{direction}slow"
    return (
        Above(10, latency_counter(name, f"{meaning} took the kernel more than 10 ms", source)),
        Above(
            100,
            latency_counter(
                f"{name}100ms",
                f"{meaning} took the kernel more than 100 ms",
                source,
                f"{name}100ms",
            ),
        ),
    )


def _attributes(sign: str) -> tuple[Attribute, ...]:
    """Those of either event: the original's lines differ in the sign after these keys."""
    return (*FLOW, *(each.in_line(each.before.replace("=", sign)) for each in (LATENCY, *PARTS)))


_LATENCIES: Final = (
    Latency(
        EventType(
            "RXKERNEL_SLOW",
            "netagent.kernellatency.rx",
            "a packet took too long from its receipt to its socket",
            _attributes(":"),
            threshold_ms=10,
            guidance=Guidance(
                example="protocol=TCP saddr=10.1.17.176 sport=43018 daddr=10.1.17.172 dport=6443 latency:37 ms "
                "prerouting:36 ms route:4 us local_in:210 us",
                causes="A softirq that was held up, long lists of netfilter rules, a program that locks its socket. "
                "The rules of PREROUTING and INPUT are in the parts of these names; what no part has passed before "
                "the IP layer or at the socket.",
                look_at="net_softirq and softnet of the node, the number of rules, CPU throttling of the receiver.",
            ),
        ),
        _counters("rx", "packets whose receipt", _RX_SOURCE),
    ),
    Latency(
        EventType(
            "TXKERNEL_SLOW",
            "netagent.kernellatency.tx",
            "a segment took too long from TCP to its device",
            _attributes("="),
            threshold_ms=10,
            guidance=Guidance(
                example="protocol=TCP saddr=10.1.17.172 sport=6443 daddr=10.1.17.176 dport=43018 latency=37 ms "
                "local_out=35 ms postrouting=820 us",
                causes="A queue before the interface (a bandwidth limit), a neighbour that does not answer, long lists "
                "of netfilter rules. The rules of OUTPUT and POSTROUTING are in the parts `local_out` and "
                "`postrouting`; what neither has passed after them.",
                look_at="NETIFTXLAT_QDISC, the interface's queue and drops, the state of the neighbour (ip neighbour).",
            ),
        ),
        _counters("tx", "packets whose sending", _TX_SOURCE),
    ),
)
"""By the numbers of enum kernel_latency."""

_HOOKS: Final = (
    Hook("TCP segments received", (AttachMethod("segment_delivered"),)),
    Hook(
        "UDP datagrams received",
        (
            AttachMethod("datagram_delivered_fentry"),
            AttachMethod("datagram_ready"),
            AttachMethod("datagram_delivered_kprobe"),
        ),
    ),
    Hook("TCP segments sent", (AttachMethod("segment_transmitted"),)),
    *PART_HOOKS,
)


class _Passage(NamedTuple):
    """The rest of `struct kernellatency_event`."""

    latency_ns: int


class KernelLatency:
    """The running probe, which makes the kernel timestamp packets."""

    def __init__(self, environment: Environment) -> None:
        """Attach. Raises Unavailable."""
        kernel = kernel_of(environment)
        attached = attach(kernel, "kernellatency", _HOOKS, partial(set_bounds, latencies=_LATENCIES))
        self._latencies = RunningLatencies("kernellatency", _LATENCIES, attached, self._details)
        self.hooks = self._latencies.hooks
        self.event_source = self._latencies.event_source
        self._passage = Layout(attached.object.btf, "kernellatency_event", _Passage)
        self._parts = Layout(attached.object.btf, "kernellatency_event", Parts, part="parts")
        self._clock = _clock_of_receipt(kernel)
        self._to_wall_clock = attached.object.variable("to_wall_clock")
        self._follow_wall_clock()
        self._stamping = _timestamp_packets()

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table | HistogramTable]:
        """How many packets of each namespace were slow."""
        self._follow_wall_clock()
        return self._latencies.collect(namespaces)

    def close(self) -> None:
        """Take the programs out of the kernel, and stop the timestamping of packets."""
        self._stamping.close()
        self._latencies.close()

    def _details(self, record: bytes) -> dict[str, AttributeValue]:
        passage, parts = self._passage.read(record), self._parts.read(record)
        return {LATENCY.name: passage.latency_ns} | parts_attributes(parts)

    def _follow_wall_clock(self) -> None:
        """Set what the kernel side adds to its clock for the timestamps of packets."""
        offset = to_unix_ns(self._clock)
        if self._clock == time.CLOCK_TAI:
            offset = round(offset / _SECOND_NS) * _SECOND_NS
        self._to_wall_clock[0] = offset % 2**64


def _clock_of_receipt(kernel: KernelFacts) -> int:
    """The clock that the kernel side reads (clock_of_receipt in bpf/kernellatency.bpf.c)."""
    known = kernel.btf.enumerators("bpf_func_id")
    return time.CLOCK_TAI if "BPF_FUNC_ktime_get_tai_ns" in known else time.CLOCK_MONOTONIC


def _timestamp_packets() -> socket.socket:
    """While this socket is open, the kernel notes in each packet of the machine when it came."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    holder.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return holder


PROBE: Final = Probe(
    name="kernellatency",
    summary="packets that were slow on their way through the kernel",
    start=KernelLatency,
    series=series_of(_LATENCIES),
    events=tuple(latency.event for latency in _LATENCIES),
    cost="0.1 us a segment at each end, 0.2 us a datagram, and the kernel's time stamp on every packet",
    capabilities=EBPF,
    opt_in="makes the kernel timestamp every packet that comes in",
)
