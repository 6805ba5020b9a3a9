"""TCP resets sent and received: on which connection, in which state, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf_object import BpfObject
from otel_netagent.kernel.layout import BadRecord, Layout
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.probing.attach import Hook, KernelMember, Unavailable, Way, at_entry, attach
from otel_netagent.probing.declaration import Environment, EventSource, Probe
from otel_netagent.probing.flow import Flow, flow_attributes, flow_text
from otel_netagent.probing.kernel_event import header_of
from otel_netagent.probing.occurrences import Occurrences, events_table
from otel_netagent.telemetry.event import AttributeValue, Event, EventType
from otel_netagent.telemetry.snapshot import Table

_TYPES: Final = (
    EventType(
        "TCPRESET_NOSOCK",
        "netagent.tcpreset.nosock",
        "a RST is sent because no socket matches: stale NAT, an expired IPVS or conntrack entry, a closed port",
        aliases=("TCP_SEND_RST_NOSock",),
    ),
    EventType(
        "TCPRESET_ACTIVE",
        "netagent.tcpreset.active",
        "a RST is sent for lack of resources, or because the program closed (unread data, linger) or died",
        aliases=("TCP_SEND_RST_ACTIVE",),
    ),
    EventType(
        "TCPRESET_PROCESS",
        "netagent.tcpreset.process",
        "a RST is sent on an existing socket while a segment is processed",
        aliases=("TCP_SEND_RST",),
    ),
    EventType("TCP_RCV_RST_SYN", "netagent.tcpreset.received.syn", "a RST is received during the handshake"),
    EventType(
        "TCP_RCV_RST_ESTAB", "netagent.tcpreset.received.estab", "a RST is received on an established connection"
    ),
    EventType("TCP_RCV_RST_TW", "netagent.tcpreset.received.tw", "a RST is received while closing"),
)
"""By the numbers of enum reset_kind."""

_STATES: Final = (
    "",
    "TCP_ESTABLISHED",
    "TCP_SYN_SENT",
    "TCP_SYN_RECV",
    "TCP_FIN_WAIT1",
    "TCP_FIN_WAIT2",
    "TCP_TIME_WAIT",
    "TCP_CLOSE",
    "TCP_CLOSE_WAIT",
    "TCP_LAST_ACK",
    "TCP_LISTEN",
    "TCP_CLOSING",
    "TCP_NEW_SYN_RECV",
)
"""By the numbers of include/net/tcp_states.h, which inet_diag makes part of the kernel's ABI."""

_ALL_SENT: Final = KernelMember(
    "trace_event_raw_tcp_send_reset",
    "reason",
    "before Linux 6.10 this tracepoint tells only the resets of a full socket",
)
_SOCKET_TOLD: Final = KernelMember(
    "trace_event_raw_kfree_skb", "rx_sk", "before Linux 6.11 a drop does not tell the socket that the packet was for"
)
_SENT: Final = Way("reset_sent", _ALL_SENT)
_RECEIVED: Final = Way("reset_received_without_socket", _SOCKET_TOLD)
_HOOKS: Final = (
    Hook("resets sent", (Way("reset_sent"),)),
    Hook("resets sent without a socket or in TIME_WAIT, IPv4", (_SENT, *at_entry("v4_reset_sent"))),
    Hook("resets sent without a socket or in TIME_WAIT, IPv6", (_SENT, *at_entry("v6_reset_sent"))),
    Hook("state before the close", (Way("remember_state"),)),
    Hook("resets received", (Way("reset_received"),)),
    Hook("resets received in TIME_WAIT", (_RECEIVED, *at_entry("received_in_time_wait"))),
    Hook("resets received in SYN_RECV", (_RECEIVED, *at_entry("received_in_syn_recv"))),
)


class _Reset(NamedTuple):
    """The rest of `struct tcpreset_event`."""

    state: int
    reason: int


class TcpReset:
    """The running probe."""

    def __init__(self, environment: Environment) -> None:
        """Attach. Raises Unavailable."""
        kernel = environment.kernel
        if kernel is None:
            raise Unavailable(environment.no_kernel)
        self._symbols = kernel.symbols
        self._reasons = {
            number: name.removeprefix("SK_RST_REASON_")
            for name, number in kernel.btf.enumerators("sk_rst_reason").items()
        }
        attached = attach(kernel, "tcpreset", _HOOKS, self._prepare)
        self._object = attached.object
        self.hooks = attached.hooks
        self._header = header_of(self._object.btf, "tcpreset_event")
        self._flow = Layout(self._object.btf, "tcpreset_event", Flow, part="flow")
        self._reset = Layout(self._object.btf, "tcpreset_event", _Reset)
        self._occurrences = Occurrences(self._object)
        self.event_source = EventSource(self._object.map("events"), self.decode)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        """What became of its events; the kernel's own counters of resets are in the probes tcp and tcpext."""
        yield events_table("tcpreset", self._occurrences.read(namespaces), _TYPES)

    def decode(self, record: bytes, monotonic_to_unix_ns: int) -> Event:
        """One record of the ring buffer as an event. Raises BadRecord."""
        header, flow, reset = self._header.read(record), self._flow.read(record), self._reset.read(record)
        if header.kind >= len(_TYPES):
            raise BadRecord(f"reset of unknown kind {header.kind}")
        facts = self._facts(reset)
        return Event(
            probe="tcpreset",
            type=_TYPES[header.kind],
            time_ns=header.time_ns + monotonic_to_unix_ns,
            netns=header.netns_inode,
            netns_cookie=header.netns_cookie,
            attributes=flow_attributes(flow) | {f"netagent.tcp.{name}": fact for name, fact in facts.items()},
            body=" ".join((flow_text(flow), *(f"{name}:{fact}" for name, fact in facts.items()))),
        )

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._object.close()

    def _facts(self, reset: _Reset) -> dict[str, AttributeValue]:
        """State and reason by the kernel's names, where there are any."""
        facts: dict[str, AttributeValue] = {}
        if reset.state:
            facts["state"] = _STATES[reset.state] if reset.state < len(_STATES) else f"TCP_{reset.state}"
        if reset.reason:
            facts["reason"] = self._reasons.get(reset.reason, f"REASON_{reset.reason}")
        return facts

    def _prepare(self, bpf_object: BpfObject) -> None:
        for variable, function in (
            ("tcp_v4_rcv", "tcp_v4_rcv"),
            ("tcp_v6_rcv", "tcp_v6_rcv"),
            ("validate_incoming", "tcp_validate_incoming"),
            ("rcv_state_process", "tcp_rcv_state_process"),
        ):
            bpf_object.variable(variable)[:] = self._symbols.span(function)


PROBE: Final = Probe(
    name="tcpreset",
    summary="TCP resets sent and received, with connection, state and reason",
    start=TcpReset,
    events=_TYPES,
)
