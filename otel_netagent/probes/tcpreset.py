"""TCP resets sent and received: on which connection, in which state, and why."""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import BadRecord, Layout
from otel_netagent.kernel.symbols import Symbols
from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.model.event import EventType, Guidance
from otel_netagent.probing.attach import AttachMethod, Hook, KernelMember, at_entry, attach, kernel_of
from otel_netagent.probing.capability import EBPF_AND_SYMBOLS
from otel_netagent.probing.declaration import Environment, Probe
from otel_netagent.probing.ending import prepare_endings, request_hook, time_wait_hook
from otel_netagent.probing.event_probe import EventProbe
from otel_netagent.probing.flow import FLOW, flow_attributes, flow_of
from otel_netagent.probing.printable import printable_name
from otel_netagent.probing.process import PROCESS_COMMAND, PROCESS_ID
from otel_netagent.probing.tcp_state import TCP_STATE, tcp_state

_REASON: Final = Attribute(
    "netagent.tcp.reason", str, "why it is sent, by the kernel's name (Linux 6.10)", before=" reason:"
)
_ATTRIBUTES: Final = (*FLOW, TCP_STATE, _REASON, PROCESS_ID, PROCESS_COMMAND)

_TYPES: Final = (
    EventType(
        "TCPRESET_NOSOCK",
        "netagent.tcpreset.nosock",
        "a RST is sent because no socket matches: stale NAT, an expired IPVS or conntrack entry, a closed port",
        _ATTRIBUTES,
        aliases=("TCP_SEND_RST_NOSock",),
        guidance=Guidance(
            example="protocol=TCP saddr=10.1.17.172 sport=43018 daddr=10.1.17.176 dport=6443",
            causes="Nothing listens at the port, or no longer; the connection is not known here: NAT or IPVS "
            "forgot it, or sent it to another backend.",
            look_at="Whether the program listens (tcplistenports), conntrack entries and their time-outs, "
            "backends that were replaced lately.",
        ),
    ),
    EventType(
        "TCPRESET_ACTIVE",
        "netagent.tcpreset.active",
        "a RST is sent for lack of resources, or because the program closed (unread data, linger) or died",
        _ATTRIBUTES,
        aliases=("TCP_SEND_RST_ACTIVE",),
        guidance=Guidance(
            example="protocol=TCP saddr=10.1.17.172 sport=6443 daddr=10.1.17.176 dport=43018 "
            "state:TCP_ESTABLISHED reason:TCP_ABORT_ON_CLOSE",
            causes="The program closed with data unread, or without waiting (SO_LINGER 0), or died; a keepalive "
            "or a time-out ran out; memory is short.",
            look_at="The reason; process.pid and process.command, where a program did it; tcpexttcpaborton* of "
            "the pod.",
        ),
    ),
    EventType(
        "TCPRESET_PROCESS",
        "netagent.tcpreset.process",
        "a RST is sent on an existing socket while a segment is processed",
        _ATTRIBUTES,
        aliases=("TCP_SEND_RST",),
        guidance=Guidance(
            example="protocol=TCP saddr=10.1.17.172 sport=6443 daddr=10.1.17.176 dport=43018 state:TCP_FIN_WAIT2 "
            "reason:TCP_ABORT_ON_DATA",
            causes="The peer goes on sending to what is closed here, or sends what does not fit the state: "
            "numbers of another connection, a SYN for a live one.",
            look_at="The reason and the state; what the peer believes: its events of the same ports at the same time.",
        ),
    ),
    EventType(
        "TCP_RCV_RST_SYN",
        "netagent.tcpreset.received.syn",
        "a RST is received during the handshake",
        _ATTRIBUTES,
        guidance=Guidance(
            example="protocol=TCP saddr=10.1.17.172 sport=6443 daddr=10.1.17.176 dport=43018 state:TCP_SYN_SENT",
            causes="Nobody listens at the peer's port, or a firewall or load balancer refuses in its name.",
            look_at="The address: is it the right one, and is its pod ready? TCPRESET_NOSOCK on the peer's node.",
        ),
    ),
    EventType(
        "TCP_RCV_RST_ESTAB",
        "netagent.tcpreset.received.estab",
        "a RST is received on an established connection",
        _ATTRIBUTES,
        guidance=Guidance(
            example="protocol=TCP saddr=10.1.17.172 sport=6443 daddr=10.1.17.176 dport=43018 state:TCP_ESTABLISHED",
            causes="The peer's program closed with data unread, or died; its connection is not known any more "
            "(restart, NAT time-out); a middlebox ended an idle connection.",
            look_at="The peer's events of the same ports at the same time; how long the connection was idle; "
            "keepalives.",
        ),
    ),
    EventType(
        "TCP_RCV_RST_TW",
        "netagent.tcpreset.received.tw",
        "a RST is received while closing",
        _ATTRIBUTES,
        guidance=Guidance(
            example="protocol=TCP saddr=10.1.17.172 sport=6443 daddr=10.1.17.176 dport=43018 state:TCP_FIN_WAIT2",
            causes="The peer closed at once, without reading what was still on its way; ordinary for many clients.",
            look_at="Whether data were lost by it: the peer's program and its way of closing.",
        ),
    ),
)
"""By the numbers of enum reset_kind."""

_ALL_SENT: Final = KernelMember(
    "trace_event_raw_tcp_send_reset",
    "reason",
    "before Linux 6.10 this tracepoint covers only resets of a full socket",
)
_SENT: Final = AttachMethod("reset_sent", _ALL_SENT)
_WITHOUT_SOCKET: Final = "reset_received_without_socket"
_HOOKS: Final = (
    Hook("resets sent", (AttachMethod("reset_sent"),)),
    Hook("resets sent without a socket or in TIME_WAIT, IPv4", (_SENT, *at_entry("v4_reset_sent"))),
    Hook("resets sent without a socket or in TIME_WAIT, IPv6", (_SENT, *at_entry("v6_reset_sent"))),
    Hook("state before the close", (AttachMethod("remember_state"),)),
    Hook("resets received", (AttachMethod("reset_received"),)),
    Hook("segments freed", (AttachMethod(_WITHOUT_SOCKET),)),
    time_wait_hook("resets received in TIME_WAIT", _WITHOUT_SOCKET),
    request_hook("resets received in SYN_RECV", _WITHOUT_SOCKET),
)
_CLOSERS: Final = ("tcp_close", "__tcp_close", "tcp_disconnect")
_SOFTIRQS: Final = ("handle_softirqs", "__do_softirq")
"""The second before Linux 6.10."""


class _Reset(NamedTuple):
    """The rest of `struct tcpreset_event`."""

    state: int
    reason: int
    pid: int
    command: bytes


class TcpReset(EventProbe):
    """The running probe."""

    def __init__(self, environment: Environment) -> None:
        """Attach. Raises Unavailable."""
        kernel = kernel_of(environment)
        attached = attach(kernel, "tcpreset", _HOOKS, partial(_prepare, symbols=kernel.symbols))
        super().__init__("tcpreset", _TYPES, attached)
        self._reasons = {
            number: name.removeprefix("SK_RST_REASON_")
            for name, number in kernel.btf.enumerators("sk_rst_reason").items()
        }
        self._flow = flow_of(self._object.btf, "tcpreset_event")
        self._reset = Layout(self._object.btf, "tcpreset_event", _Reset)

    def _read(self, record: bytes, kind: int) -> tuple[EventType, dict[str, AttributeValue]]:
        if kind >= len(_TYPES):
            raise BadRecord(f"reset of unknown kind {kind}")
        flow, reset = self._flow.read(record), self._reset.read(record)
        return _TYPES[kind], flow_attributes(flow) | self._cause(reset) | _process(reset)

    def _cause(self, reset: _Reset) -> dict[str, AttributeValue]:
        """State and reason by the kernel's names, where there are any."""
        cause: dict[str, AttributeValue] = {}
        if reset.state:
            cause[TCP_STATE.name] = tcp_state(reset.state)
        if reset.reason:
            cause[_REASON.name] = self._reasons.get(reset.reason, f"REASON_{reset.reason}")
        return cause


def _prepare(bpf_object: BpfObject, symbols: Symbols) -> None:
    for variable, functions in (
        ("validate_incoming", ("tcp_validate_incoming",)),
        ("rcv_state_process", ("tcp_rcv_state_process",)),
        ("closers", _CLOSERS),
        ("softirqs", _SOFTIRQS),
    ):
        bpf_object.variable(variable)[:] = symbols.spans(functions)
    prepare_endings(bpf_object, symbols)


def _process(reset: _Reset) -> dict[str, AttributeValue]:
    """The program that closed the socket, where one did."""
    return {PROCESS_ID.name: reset.pid, PROCESS_COMMAND.name: printable_name(reset.command)} if reset.pid else {}


PROBE: Final = Probe(
    name="tcpreset",
    summary="TCP resets sent and received, with connection, state and reason",
    start=TcpReset,
    events=_TYPES,
    cost="nothing but at resets, and a few ns at changes of a socket's state",
    capabilities=EBPF_AND_SYMBOLS,
)
