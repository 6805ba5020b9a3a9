"""How long packets stay at an interface on their way out: in its queueing discipline, and in its driver.

Not among the necessary probes: each packet costs 0.4 us at each device that sends it (Linux 6.18 in a virtual machine,
`kernel.bpf_stats_enabled`), and a driver that takes 100 ms is rare. Who looks for packets that are late asks for it.

A packet that a queueing discipline itself divides (tbf and others do so with a large one that is left to the device to
divide) is not followed through the queue.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final, NamedTuple

from otel_netagent.kernel.layout import BadRecord, Layout
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.probing.attach import Hook, Unavailable, Way, attach
from otel_netagent.probing.declaration import Environment, EventSource, Probe
from otel_netagent.probing.delay import latency_text
from otel_netagent.probing.flow import Flow, flow_attributes, flow_text
from otel_netagent.probing.kernel_event import header_of
from otel_netagent.probing.latency import (
    Above,
    Latency,
    LatencyCounts,
    latency_counter,
    limit_latencies,
    series_of,
    set_bounds,
)
from otel_netagent.probing.printable import printable_name
from otel_netagent.telemetry.event import Event, EventType, Guidance
from otel_netagent.telemetry.snapshot import Table

_LATENCIES: Final = (
    Latency(
        EventType(
            "NETIFTXLAT_QDISC",
            "netagent.netiftxlat.qdisc",
            "a packet waited too long in the queueing discipline of its interface",
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
    Hook("packets that leave a queue", (Way("packets_dequeued"),)),
    Hook("packets that come to a queue", (Way("packet_queued"),)),
    Hook("ends of transmissions", (Way("transmission_ends"),)),
    Hook("begins of transmissions", (Way("transmission_begins"),)),
)


class _Stay(NamedTuple):
    """The rest of `struct netiftxlat_event`."""

    latency_ns: int
    interface: bytes


class NetIfTxLat:
    """The running probe."""

    def __init__(self, environment: Environment) -> None:
        """Attach. Raises Unavailable."""
        kernel = environment.kernel
        if kernel is None:
            raise Unavailable(environment.no_kernel)
        attached = attach(kernel, "netiftxlat", _HOOKS, lambda each: set_bounds(each, _LATENCIES))
        self._object = attached.object
        self.hooks = attached.hooks
        self._counts = LatencyCounts("netiftxlat", _LATENCIES, self._object)
        self._header = header_of(self._object.btf, "netiftxlat_event")
        self._flow = Layout(self._object.btf, "netiftxlat_event", Flow, part="flow")
        self._stay = Layout(self._object.btf, "netiftxlat_event", _Stay)
        limit = partial(limit_latencies, self._object, _LATENCIES)
        self.event_source = EventSource(self._object.map("events"), self.decode, limit)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        """How many packets stayed too long at the interfaces of each namespace."""
        return self._counts.tables(namespaces)

    def decode(self, record: bytes, monotonic_to_unix_ns: int) -> Event:
        """One record of the ring buffer as an event. Raises BadRecord."""
        header, flow, stay = self._header.read(record), self._flow.read(record), self._stay.read(record)
        if header.kind >= len(_LATENCIES):
            raise BadRecord(f"interface latency of unknown kind {header.kind}")
        interface = printable_name(stay.interface)
        return Event(
            probe="netiftxlat",
            type=_LATENCIES[header.kind].event,
            time_ns=header.time_ns + monotonic_to_unix_ns,
            netns=header.netns_inode,
            netns_cookie=header.netns_cookie,
            attributes=flow_attributes(flow)
            | {"netagent.latency_ns": stay.latency_ns, "network.interface.name": interface},
            body=f"{flow_text(flow)} latency={latency_text(stay.latency_ns)} interface={interface}",
        )

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._object.close()


PROBE: Final = Probe(
    name="netiftxlat",
    summary="packets that stayed too long in an interface's queue or driver",
    start=NetIfTxLat,
    series=series_of(_LATENCIES),
    events=tuple(latency.event for latency in _LATENCIES),
    cost="0.4 us a packet at each device that sends it",
    on_demand="it is paid by every packet",
)
