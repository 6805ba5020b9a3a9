"""Packets that the kernel drops: how many, why and where, and for each (in bounds) its flow and the kernel's stack."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import Layout
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.kernel.proc import processes
from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.model.event import Event, EventType, Guidance
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import RowKey, Table, Values
from otel_netagent.probing.attach import AttachMethod, Hook, attach, kernel_of
from otel_netagent.probing.bounded import Bounded, LabelValues
from otel_netagent.probing.capability import EBPF_AND_SYMBOLS
from otel_netagent.probing.consumed_ack import deferral_hook, prepare_consumed_acks, probe_hook
from otel_netagent.probing.declaration import Environment, Probe
from otel_netagent.probing.drop_reasons import GROUP_FUNCTIONS, MALFORMED, ORDINARY_FUNCTIONS, DropReasons
from otel_netagent.probing.ending import prepare_endings, request_hook, time_wait_hook
from otel_netagent.probing.event_probe import EventProbe
from otel_netagent.probing.expected import EXPECTED, as_expected, expected_attributes
from otel_netagent.probing.flow import FLOW, FlowParts, flow_attributes, flow_of
from otel_netagent.probing.occurrences import Occurrence
from otel_netagent.probing.segment import DROP_LOCATION, DROP_REASON, TCP_SEQUENCE

_SOURCE: Final = "eBPF skb:kfree_skb"


def _counter(name: str, meaning: str, *aliases: str, labels: tuple[str, ...] = ()) -> Series:
    full_names = tuple(f"inspector_pod_{alias}" for alias in aliases)
    return Series(f"inspector_pod_{name}", Kind.COUNTER, "{packet}", meaning, _SOURCE, labels, full_names)


class _DropKind(NamedTuple):
    """What distinguishes one drop from another."""

    function: str
    reason: str
    expected: bool


def _is_abnormal(drop: _DropKind) -> bool:
    return not drop.expected and drop.reason not in MALFORMED


_NETFILTER: Final = frozenset({"nf_hook_slow", "nft_do_chain", "ipt_do_table", "ip6t_do_table", "nf_hook_slow_list"})


def _is_by_netfilter(drop: _DropKind) -> bool:
    return drop.function in _NETFILTER or drop.reason == "NETFILTER_DROP"


def _is_in(*functions: str) -> Callable[[_DropKind], bool]:
    return lambda drop: drop.function in functions


_TOTALS: Final[Mapping[Series, Callable[[_DropKind], bool]]] = {
    _counter("packetloss_total", "packets dropped by the kernel", "totalloss"): lambda _drop: True,
    _counter(
        "packetloss_abnormal",
        "packets dropped for other causes than the packet's own fault, without those expected of healthy connections",
        "abnormalalloss",
    ): _is_abnormal,
    _counter("packetloss_netfilter", "packets dropped by netfilter"): _is_by_netfilter,
    _counter("packetloss_tcpstatm", "packets dropped by the TCP state machine (tcp_rcv_state_process)"): _is_in(
        "tcp_rcv_state_process"
    ),
    _counter("packetloss_tcprcv", "packets dropped in tcp_v4_rcv or tcp_v6_rcv"): _is_in("tcp_v4_rcv", "tcp_v6_rcv"),
    _counter("packetloss_tcphandle", "packets dropped in tcp_v4_do_rcv or tcp_v6_do_rcv"): _is_in(
        "tcp_v4_do_rcv", "tcp_v6_do_rcv"
    ),
}
"""Each with which drops it counts."""
_BY_LOCATION: Final = (
    _counter("packetloss", "packets dropped, by dropping function and reason", labels=("location", "reason")),
)

LOCATIONS_MAX: Final = 64
"""Locations and reasons of a namespace that have a series of their own; the rest is `location="other"`."""


@lru_cache(maxsize=1024)
def _in_one_line(frames: str) -> str:
    """The same stacks come again and again, the same objects too (PacketLoss._stack): a look-up costs less."""
    return frames.replace("\n", " ")


_STACK: Final = Attribute(
    "code.stacktrace",
    str,
    "the kernel's functions from the one that dropped the packet on, innermost first; a line each, in the text line "
    "a word each",
    before="  stacktrace:",
    text=_in_one_line,
)
_LENGTH: Final = Attribute(
    "netagent.packet.length", int, "length of the packet, from the layer on that it was in", "By"
)

PACKETLOSS: Final = EventType(
    "PACKETLOSS",
    "netagent.packetloss",
    "the kernel drops a packet",
    (*FLOW, DROP_REASON.in_line(" reason:"), _STACK, DROP_LOCATION, _LENGTH, TCP_SEQUENCE, EXPECTED),
    guidance=Guidance(
        example="protocol=TCP saddr=10.1.17.172 sport=43018 daddr=10.1.17.176 dport=6443 reason:NETFILTER_DROP  "
        "stacktrace:nft_do_chain_inet+0x9C nf_hook_slow+0x45 ip_local_deliver+0xD5",
        causes="The reason says it: a firewall or network policy (NETFILTER_DROP), a program that does not read "
        "(SOCKET_RCVBUFF), a full queue (QDISC_DROP, CPU_BACKLOG, FULL_RING), nobody at the port (NO_SOCKET).",
        look_at="inspector_pod_packetloss by location and reason: since when, how many. The stack, where there is no "
        "reason. TCPRETRANS of the same flow.",
    ),
)

_HOOKS: Final = (
    Hook("drops", (AttachMethod("count_drop"),)),
    time_wait_hook("TIME_WAIT segments (so that they are not counted as drops)", "count_drop"),
    request_hook("resets of half-open connections (so that they are not counted as drops)", "count_drop"),
    probe_hook("count_drop"),
    deferral_hook("count_drop"),
)


class _Drop(NamedTuple):
    """The rest of `struct packetloss_event`."""

    location: int
    expected: int
    tcp_sequence: int
    length: int
    stack_bytes: int
    stack: bytes


class _Stack(NamedTuple):
    """Where a packet was dropped: the function, and the frames from it on, a line each."""

    function: str
    frames: str


class PacketLoss(EventProbe):
    """The running probe."""

    def __init__(self, environment: Environment) -> None:
        """Attach. Raises Unavailable."""
        kernel = kernel_of(environment)
        self._symbols = kernel.symbols
        self._reasons = DropReasons(
            kernel.btf.enumerators("skb_drop_reason"), kernel.btf.enumerators("skb_drop_reason_subsys")
        )
        super().__init__("packetloss", (PACKETLOSS,), attach(kernel, "packetloss", _HOOKS, self._prepare))
        self._flow = flow_of(self._object.btf, "packetloss_event")
        self._drop = Layout(self._object.btf, "packetloss_event", _Drop)
        self._rows = Bounded(LOCATIONS_MAX)
        self._host = processes.host_netns() or 0
        self._stack = lru_cache(maxsize=1024)(self._resolve)

    def decode(self, record: bytes, monotonic_to_unix_ns: int) -> Event:
        """One record as an event; a drop whose namespace the kernel side could not determine is the host's."""
        event = super().decode(record, monotonic_to_unix_ns)
        return event if event.netns else event._replace(netns=self._host)

    def _tables(self, drops: Sequence[Occurrence], namespaces: Sequence[Namespace]) -> Iterable[Table]:
        """Drops of each namespace: in total, of some kinds, and by location and reason."""
        self._stack.cache_clear()  # modules come and go, and what lies where one was has another name
        totals = {(each.cookie, ()): [0] * len(_TOTALS) for each in namespaces}
        locations: dict[int, dict[LabelValues, Values]] = defaultdict(dict)
        names = {
            (location, kind): (self._symbols.function(location), self._reasons.name(kind))
            for location, kind in {(drop.location, drop.kind) for drop in drops}
        }
        for drop in drops:
            function, reason = names[drop.location, drop.kind]
            _count(totals[drop.netns_cookie, ()], _DropKind(function, reason, drop.expected), drop.total)
            (before,) = locations[drop.netns_cookie].get((function, reason), (0,))
            locations[drop.netns_cookie][function, reason] = (before + drop.total,)
        yield Table("packetloss", tuple(_TOTALS), {key: tuple(row) for key, row in totals.items()})
        yield Table("packetloss", _BY_LOCATION, self._bounded(locations, namespaces))

    def _read(self, record: bytes, kind: int) -> tuple[EventType, dict[str, AttributeValue]]:
        flow, drop = self._flow.read(record), self._drop.read(record)
        stack = self._stack(drop.stack[: drop.stack_bytes], drop.location)
        attributes = flow_attributes(flow)
        attributes[DROP_REASON.name] = self._reasons.name(kind)
        attributes[DROP_LOCATION.name] = stack.function
        attributes[_LENGTH.name] = drop.length
        attributes[_STACK.name] = stack.frames
        if flow.known & FlowParts.TCP_FLAGS:
            attributes[TCP_SEQUENCE.name] = drop.tcp_sequence
        if not drop.expected:
            return PACKETLOSS, attributes
        return as_expected(PACKETLOSS), attributes | expected_attributes(drop.expected)

    def _prepare(self, bpf_object: BpfObject) -> None:
        expected = bpf_object.variable("expected_reasons")
        for number in self._reasons.ordinary():
            expected[number] = 1
        for variable, functions in (("expected_functions", ORDINARY_FUNCTIONS), ("group_functions", GROUP_FUNCTIONS)):
            spans = self._symbols.spans(functions)
            bpf_object.variable(variable)[: len(spans)] = spans
        bpf_object.variable("icmp_rcv")[:] = self._symbols.span("icmp_rcv")
        bpf_object.variable("release_data")[:] = self._symbols.span("skb_release_data")
        prepare_endings(bpf_object, self._symbols)
        prepare_consumed_acks(bpf_object, self._symbols)

    def _bounded(
        self, locations: Mapping[int, Mapping[LabelValues, Values]], namespaces: Iterable[Namespace]
    ) -> dict[RowKey, Values]:
        """A row for each location and reason, up to a limit, which stays for as long as the kernel's counts do."""
        self._rows.keep_only(self._occurrences.absent.union(each.cookie for each in namespaces))
        rows: dict[RowKey, Values] = {}
        for cookie, counts in locations.items():
            rows |= {(cookie, labels): row for labels, row in self._rows.fold(cookie, counts).items()}
        return rows

    def _resolve(self, stack: bytes, location: int) -> _Stack:
        """Frames from the function that dropped on: what lies before it is the tracing itself."""
        addresses = struct.unpack_from(f"={len(stack) // 8}Q", stack)
        if location in addresses:
            addresses = addresses[addresses.index(location) :]
        return _Stack(self._symbols.function(location), "\n".join(map(self._symbols.name, addresses)))


def _count(totals: list[int], kind: _DropKind, drops: int) -> None:
    """Add drops of a kind to those of the totals that count them."""
    for position, counts in enumerate(_TOTALS.values()):
        totals[position] += drops * counts(kind)


PROBE: Final = Probe(
    name="packetloss",
    summary="packets that the kernel drops, by reason and location",
    start=PacketLoss,
    series=(*_TOTALS, *_BY_LOCATION),
    events=(PACKETLOSS,),
    cost="nothing but at drops: some 0.2 us each, 5 us where an event with its stack is made",
    capabilities=EBPF_AND_SYMBOLS,
)
