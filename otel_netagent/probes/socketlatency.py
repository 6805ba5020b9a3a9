"""How long data wait on sockets: received ones for the program, written ones for the network.

What is counted are standstills (bpf/socketlatency.bpf.c): a program that does not read for 150 ms is one, whatever came
meanwhile; a connection whose peer reads nothing for 150 ms, so that what the program has written waits, is one for
the writer. Of datagrams only the reading is measured: writing one takes it to the network layer within the call.

Not among the necessary probes: a message costs it 0.9 us over TCP and 0.7 us over UDP, both ends together, where a
request and its answer take 80 us (Linux 6.18 in a virtual machine, `kernel.bpf_stats_enabled`). Most of it is what the
CPU at which data arrive and the one that reads them have to tell each other. Most of what is written goes out at once,
and costs a comparison.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from functools import partial
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf_object import BpfObject
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.layout import BadRecord, Layout
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.probing.attach import Attached, Hook, Unavailable, Way, attach
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

_READ_SOURCE: Final = "eBPF, from sock:sk_data_ready to tcp:tcp_rcv_space_adjust, or sock:sock_recv_length of datagrams"
_WRITE_SOURCE: Final = "eBPF, from sock:sock_send_length or tcp:tcp_sendmsg_locked to net:net_dev_queue"

_LATENCIES: Final = (
    Latency(
        EventType(
            "SOCKETLAT_READSLOW",
            "netagent.socketlatency.read",
            "data waited too long on a socket before the program read it",
            threshold_ms=100,
            guidance=Guidance(
                example="protocol=TCP saddr=10.1.17.172 sport=6443 daddr=10.1.17.176 dport=43018 latency=153 ms "
                "pid=4711 command=java",
                causes="The program is busy elsewhere, stopped, in a garbage collection, short of threads, or "
                "throttled by its CPU limit.",
                look_at="CPU throttling and the pauses of that process (pid), tcprxqueue and RcvbufErrors of the pod.",
            ),
        ),
        (
            Above(
                1,
                latency_counter(
                    "socketlatencyread1ms",
                    "times a program took more than 1 ms to read from a socket what had arrived",
                    _READ_SOURCE,
                ),
            ),
            Above(
                100,
                latency_counter(
                    "socketlatencyread100ms",
                    "times a program took more than 100 ms to read from a socket what had arrived",
                    _READ_SOURCE,
                ),
            ),
        ),
    ),
    Latency(
        EventType(
            "SOCKETLAT_SENDSLOW",
            "netagent.socketlatency.send",
            "what was written to a socket waited too long for the socket to hand it to the network layer",
            threshold_ms=100,
            guidance=Guidance(
                example="protocol=TCP saddr=10.1.17.172 sport=43018 daddr=10.1.17.176 dport=6443 latency=212 ms "
                "pid=4711 command=java",
                causes="The peer does not read (its window is closed), packets or their acknowledgments are lost, or "
                "the program holds data back itself (TCP_CORK, Nagle's algorithm).",
                look_at="Retransmissions of the connection, SOCKETLAT_READSLOW at its other end, the pod's tcptxqueue.",
            ),
        ),
        (
            Above(
                1,
                latency_counter(
                    "socketlatencywrite1ms", "times a write to a TCP socket took more than 1 ms", _WRITE_SOURCE
                ),
            ),
            Above(
                100,
                latency_counter(
                    "socketlatencywrite100ms", "times a write to a TCP socket took more than 100 ms", _WRITE_SOURCE
                ),
            ),
        ),
    ),
)
"""By the numbers of enum socket_latency."""

_IN_SOCKETS: Final = (
    # Whatever ends a wait comes first: a wait that began must not miss its end.
    Hook("reading of TCP sockets", (Way("stream_read"),)),
    Hook("reading of UDP sockets", (Way("datagram_read"), Way("datagram_read_fentry"))),
    Hook("arrival of data", (Way("data_ready"), Way("data_ready_fentry"))),
    Hook("handing on of written data", (Way("handed_on"),)),
    Hook("writing to TCP sockets", (Way("all_written"), Way("all_written_fexit"))),
    Hook("waiting within a write", (Way("piece_written"), Way("piece_written_fentry"))),
)
_IN_TABLE: Final = (
    Hook("end of TCP sockets", (Way("forget_socket"),)),
    Hook("reading of TCP sockets", (Way("stream_read_in_table"),)),
    Hook("reading of UDP sockets", (Way("datagram_read_in_table"),)),
    Hook("arrival of data", (Way("data_ready_in_table"),)),
    Hook("handing on of written data", (Way("handed_on_in_table"),)),
    Hook("writing to TCP sockets", (Way("all_written_in_table"),)),
    Hook("waiting within a write", (Way("piece_written_in_table"),)),
)
"""For kernels that let tracing programs keep nothing in a socket: bpf/socketlatency.bpf.c says which."""


class _Wait(NamedTuple):
    """The rest of `struct socketlatency_event`."""

    latency_ns: int
    pid: int
    command: bytes


class SocketLatency:
    """The running probe."""

    def __init__(self, environment: Environment) -> None:
        """Attach. Raises Unavailable."""
        if environment.kernel is None:
            raise Unavailable(environment.no_kernel)
        attached = _attach(environment.kernel)
        self._object = attached.object
        self.hooks = attached.hooks
        self._counts = LatencyCounts("socketlatency", _LATENCIES, self._object)
        self._header = header_of(self._object.btf, "socketlatency_event")
        self._flow = Layout(self._object.btf, "socketlatency_event", Flow, part="flow")
        self._wait = Layout(self._object.btf, "socketlatency_event", _Wait)
        limit = partial(limit_latencies, self._object, _LATENCIES)
        self.event_source = EventSource(self._object.map("events"), self.decode, limit)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        """How often data waited in each namespace, by how long."""
        return self._counts.tables(namespaces)

    def decode(self, record: bytes, monotonic_to_unix_ns: int) -> Event:
        """One record of the ring buffer as an event. Raises BadRecord."""
        header, flow, wait = self._header.read(record), self._flow.read(record), self._wait.read(record)
        if header.kind >= len(_LATENCIES):
            raise BadRecord(f"socket latency of unknown kind {header.kind}")
        command = printable_name(wait.command)
        return Event(
            probe="socketlatency",
            type=_LATENCIES[header.kind].event,
            time_ns=header.time_ns + monotonic_to_unix_ns,
            netns=header.netns_inode,
            netns_cookie=header.netns_cookie,
            attributes=flow_attributes(flow)
            | {"netagent.latency_ns": wait.latency_ns, "process.pid": wait.pid, "process.command": command},
            body=f"{flow_text(flow)} latency={latency_text(wait.latency_ns)} pid={wait.pid} command={command}",
        )

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._object.close()


def _attach(kernel: KernelFacts) -> Attached:
    def prepare(bpf_object: BpfObject) -> None:
        set_bounds(bpf_object, _LATENCIES)

    try:
        attached = attach(kernel, "socketlatency", _IN_SOCKETS, prepare)
    except Unavailable:
        return attach(kernel, "socketlatency", _IN_TABLE, prepare)
    if _sockets_keep(attached.object):
        return attached
    attached.object.close()
    return attach(kernel, "socketlatency", _IN_TABLE, prepare)


def _sockets_keep(bpf_object: BpfObject) -> bool:
    """Whether the programs find memory to keep something in a socket: tried with one of our own."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.sendto(b"", own.getsockname())
    return not bpf_object.variable("uncounted")[0]


PROBE: Final = Probe(
    name="socketlatency",
    summary="data that waited on sockets, to be read or to be sent",
    start=SocketLatency,
    series=series_of(_LATENCIES),
    events=tuple(latency.event for latency in _LATENCIES),
    cost="0.9 us a message over TCP, 0.7 us over UDP, both ends together",
    on_demand="it is paid by every message, 2 % of a short request and its answer",
)
