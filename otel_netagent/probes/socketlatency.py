"""How long data wait on sockets: received ones for the program, written ones for the network.

What is counted are standstills (bpf/socketlatency.bpf.c): a program that does not read for 150 ms is one, whatever came
meanwhile; a connection whose peer reads nothing for 150 ms, so that what the program has written waits, is one for
the writer. Of datagrams only the reading is measured: writing one brings it to the network layer within the call.

Opt-in: a message costs 0.9 us over TCP and 0.7 us over UDP, both ends together, where a request and its answer take
80 us (Linux 6.18 in a virtual machine, `kernel.bpf_stats_enabled`). Most of it is traffic between the caches of the CPU
at which data arrive and the one that reads them. Most of what is written goes out at once, and costs a comparison.
"""

from __future__ import annotations

import contextlib
import socket
from functools import partial
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import Layout
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.model.attribute import AttributeValue
from otel_netagent.model.event import EventType, Guidance
from otel_netagent.probing.attach import Attached, AttachMethod, Hook, Unavailable, attach, kernel_of
from otel_netagent.probing.capability import EBPF
from otel_netagent.probing.declaration import Environment, Probe
from otel_netagent.probing.duration import LATENCY
from otel_netagent.probing.flow import CONNECTION
from otel_netagent.probing.latency import (
    Above,
    Latency,
    RunningLatencies,
    latency_counter,
    series_of,
    set_bounds,
)
from otel_netagent.probing.printable import printable_name
from otel_netagent.probing.process import PROCESS_COMMAND, PROCESS_ID

_READ_SOURCE: Final = "eBPF, from sock:sk_data_ready to tcp:tcp_rcv_space_adjust, or sock:sock_recv_length of datagrams"
_WRITE_SOURCE: Final = "eBPF, from sock:sock_send_length or tcp:tcp_sendmsg_locked to net:net_dev_queue"

_ATTRIBUTES: Final = (*CONNECTION, LATENCY, PROCESS_ID.in_line(" pid="), PROCESS_COMMAND.in_line(" command="))

_LATENCIES: Final = (
    Latency(
        EventType(
            "SOCKETLAT_READSLOW",
            "netagent.socketlatency.read",
            "data waited too long on a socket before the program read it",
            _ATTRIBUTES,
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
            _ATTRIBUTES,
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


def _at_entry(handler: str) -> tuple[AttachMethod, AttachMethod]:
    """The programs of AT_ENTRY_BY_WHERE that use the table."""
    return AttachMethod(f"{handler}_fentry_in_table"), AttachMethod(f"{handler}_kprobe")


_IN_SOCKETS: Final = (
    # Whatever ends a wait comes first: a wait that began must not miss its end.
    Hook("reading of TCP sockets", (AttachMethod("stream_read_typed"),)),
    Hook("reading of UDP sockets", (AttachMethod("message_read_typed"), AttachMethod("datagram_read_fentry"))),
    Hook("arrival of data", (AttachMethod("data_ready_typed"), AttachMethod("data_arrived_fentry"))),
    Hook("handing on of written data", (AttachMethod("handed_on_typed"),)),
    Hook("writing to TCP sockets", (AttachMethod("all_written_typed"), AttachMethod("all_written_fexit"))),
    Hook("waiting within a write", (AttachMethod("piece_written_typed"), AttachMethod("data_written_fentry"))),
)
_IN_TABLE: Final = (
    Hook("end of TCP sockets", (AttachMethod("forget_socket"),)),
    Hook("reading of TCP sockets", (AttachMethod("stream_read_raw"),)),
    Hook("reading of UDP sockets", (AttachMethod("message_read_raw"), *_at_entry("datagram_read"))),
    Hook("arrival of data", (AttachMethod("data_ready_raw"), *_at_entry("data_arrived"))),
    Hook("handing on of written data", (AttachMethod("handed_on_raw"),)),
    Hook(
        "writing to TCP sockets",
        (
            AttachMethod("all_written_raw"),
            AttachMethod("all_written_fexit_in_table"),
            AttachMethod("all_written_kprobe"),
        ),
    ),
    Hook("waiting within a write", (AttachMethod("piece_written_raw"), *_at_entry("data_written"))),
)
"""For kernels on which tracing programs cannot store anything in a socket: bpf/socketlatency.bpf.c says which."""


class _Wait(NamedTuple):
    """The rest of `struct socketlatency_event`."""

    latency_ns: int
    pid: int
    command: bytes


def _start(environment: Environment) -> RunningLatencies:
    attached = _attach(kernel_of(environment))
    waits = Layout(attached.object.btf, "socketlatency_event", _Wait)

    def details(record: bytes) -> dict[str, AttributeValue]:
        wait = waits.read(record)
        return {
            LATENCY.name: wait.latency_ns,
            PROCESS_ID.name: wait.pid,
            PROCESS_COMMAND.name: printable_name(wait.command),
        }

    return RunningLatencies("socketlatency", _LATENCIES, attached, details)


def _attach(kernel: KernelFacts) -> Attached:
    try:
        attached = attach(kernel, "socketlatency", _IN_SOCKETS, partial(_prepare, unused="in_table"))
    except Unavailable:
        return _attach_with_table(kernel)
    if all(hook.way for hook in attached.hooks) and _sockets_keep(attached.object):
        return attached
    attached.object.close()
    return _attach_with_table(kernel)


def _attach_with_table(kernel: KernelFacts) -> Attached:
    return attach(kernel, "socketlatency", _IN_TABLE, partial(_prepare, unused="in_sockets"))


def _prepare(bpf_object: BpfObject, unused: str) -> None:
    bpf_object.leave_out(unused)
    set_bounds(bpf_object, _LATENCIES)


def _sockets_keep(bpf_object: BpfObject) -> bool:
    """Whether the programs find memory to keep something in a socket: tried with one of our own."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.sendto(b"", own.getsockname())
    return not bpf_object.variable("uncounted")[0]


PROBE: Final = Probe(
    name="socketlatency",
    summary="data that waited on sockets, to be read or to be sent",
    start=_start,
    series=series_of(_LATENCIES),
    events=tuple(latency.event for latency in _LATENCIES),
    cost="0.9 us a message over TCP, 0.7 us over UDP, both ends together",
    capabilities=EBPF,
    opt_in="adds cost to every message, 2 % of a short request and its answer",
)
