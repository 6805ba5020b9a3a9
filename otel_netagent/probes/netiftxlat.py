"""How long packets stay at an interface on their way out: in its queueing discipline, and in its driver.

Opt-in: each packet costs 0.4 us at each device that sends it (Linux 6.18 in a virtual machine,
`kernel.bpf_stats_enabled`), and a driver that takes 100 ms is rare. Switch it on to look for packets that are late.

A packet that a queueing discipline itself divides (tbf and others do so with a large one that is left to the device to
divide) is not followed through the queue.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.layout import Layout
from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.model.event import EventType, Guidance
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
from otel_netagent.probing.printable import printable_name

_INTERFACE: Final = Attribute("network.interface.name", str, "interface that sends the packet", before=" interface=")
_ATTRIBUTES: Final = (*FLOW, LATENCY, _INTERFACE)

_LATENCIES: Final = (
    Latency(
        EventType(
            "NETIFTXLAT_QDISC",
            "netagent.netiftxlat.qdisc",
            "a packet waited too long in the queueing discipline of its interface",
            _ATTRIBUTES,
            threshold_ms=100,
            guidance=Guidance(
                example="protocol=TCP saddr=10.1.17.172 sport=6443 daddr=10.1.17.176 dport=43018 latency=143 ms "
                "interface=eth0",
                causes="The pod sends more than its bandwidth limit lets through, or the node more than its interface.",
                look_at="Rate and drops of the interface (probes qdisc and netdev), the pod's bandwidth annotations.",
            ),
        ),
        (
            Above(
                100,
                latency_counter(
                    "netiftxlatqdiscslow100ms",
                    "packets that waited more than 100 ms in a queueing discipline",
                    "eBPF, from net:net_dev_queue to qdisc:qdisc_dequeue",
                ),
            ),
        ),
    ),
    Latency(
        EventType(
            "NETIFTXLAT_XMIT",
            "netagent.netiftxlat.xmit",
            "the driver of an interface took too long to transmit a packet",
            _ATTRIBUTES,
            threshold_ms=100,
            guidance=Guidance(
                example="protocol=TCP saddr=10.1.17.172 sport=6443 daddr=10.1.17.176 dport=43018 latency=118 ms "
                "interface=eth0",
                causes="A hypervisor that takes no packets or keeps the CPU, a tunnel with a long list of rules.",
                look_at="Stolen CPU time of the node, softnet and net_softirq, rules in the output chain.",
            ),
        ),
        (
            Above(
                100,
                latency_counter(
                    "netiftxlatnetdevslow100ms",
                    "packets that took a driver more than 100 ms to transmit",
                    "eBPF, from net:net_dev_start_xmit to net:net_dev_xmit",
                ),
            ),
        ),
    ),
)
"""By the numbers of enum netiftx_latency."""

_HOOKS: Final = (
    Hook("packets that leave a queue", (AttachMethod("packets_dequeued"),)),
    Hook("packets that come to a queue", (AttachMethod("packet_queued"),)),
    Hook("ends of transmissions", (AttachMethod("transmission_ends"),)),
    Hook("begins of transmissions", (AttachMethod("transmission_begins"),)),
)


class _Stay(NamedTuple):
    """The rest of `struct netiftxlat_event`."""

    latency_ns: int
    interface: bytes


def _start(environment: Environment) -> RunningLatencies:
    prepare = partial(set_bounds, latencies=_LATENCIES)
    attached = attach(kernel_of(environment), "netiftxlat", _HOOKS, prepare)
    stays = Layout(attached.object.btf, "netiftxlat_event", _Stay)

    def details(record: bytes) -> dict[str, AttributeValue]:
        stay = stays.read(record)
        return {LATENCY.name: stay.latency_ns, _INTERFACE.name: printable_name(stay.interface)}

    return RunningLatencies("netiftxlat", _LATENCIES, attached, details)


PROBE: Final = Probe(
    name="netiftxlat",
    summary="packets that stayed too long in an interface's queue or driver",
    start=_start,
    series=series_of(_LATENCIES),
    events=tuple(latency.event for latency in _LATENCIES),
    cost="0.4 us a packet at each device that sends it",
    capabilities=EBPF,
    opt_in="adds cost to every packet",
)
