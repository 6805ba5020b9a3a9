"""TCP segments sent again: how many, with how many bytes, and for each (in bounds) its connection and what made it so.

An event is emitted for what a timer had to run out for: the connection stood still for 200 ms or, in the handshake, for
a second and more. A fast retransmission repairs a loss within a round trip, as TCP is meant to do on a path that others
use too; it is counted, and emitted only where `event_config.expected` asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.layout import BadRecord, Layout
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.model.event import EventType, Guidance
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Table
from otel_netagent.probing.attach import AttachMethod, Hook, attach, kernel_of
from otel_netagent.probing.capability import EBPF
from otel_netagent.probing.declaration import Environment, Probe
from otel_netagent.probing.event_probe import EventProbe
from otel_netagent.probing.expected import EXPECTED, as_expected, expected_attributes
from otel_netagent.probing.flow import CONNECTION, flow_attributes, flow_of
from otel_netagent.probing.occurrences import Occurrence
from otel_netagent.probing.segment import DROP_LOCATION, DROP_REASON, RETRANSMITTED, TCP_SEQUENCE
from otel_netagent.probing.tcp_state import TCP_STATE, tcp_state

_SOURCE: Final = "eBPF tcp:tcp_retransmit_skb, tcp:tcp_retransmit_synack"

_SERIES: Final = (
    Series(
        "inspector_pod_tcpretrans_total",
        Kind.COUNTER,
        "{segment}",
        "segments retransmitted, as seen at the moment of retransmission; without those that could not be sent",
        _SOURCE,
    ),
    Series("inspector_pod_tcpretrans_bytes", Kind.COUNTER, "By", "bytes of data retransmitted", _SOURCE),
)

_TRIGGER: Final = Attribute(
    "netagent.retransmission.trigger",
    str,
    "what made TCP send it again, where that is known: TIMEOUT, LOSS_PROBE or FAST",
    before=" trigger:",
)
_DATA: Final = Attribute("netagent.retransmission.bytes", int, "data sent again", "By", " bytes:")
_COUNT: Final = Attribute(
    "netagent.retransmission.segments", int, "segments on the wire, where there are several", before=" segments:"
)
_TIMEOUTS: Final = Attribute("netagent.tcp.timeouts", int, "time-outs since the peer acknowledged something last")

TCPRETRANS: Final = EventType(
    "TCPRETRANS",
    "netagent.tcpretrans",
    "a TCP segment is sent again because a timer ran out",
    (
        *CONNECTION,
        TCP_STATE,
        RETRANSMITTED,
        _TRIGGER,
        _DATA,
        _COUNT,
        DROP_REASON.in_line(" drop:"),
        DROP_LOCATION.in_line(" at:"),
        TCP_SEQUENCE,
        _TIMEOUTS,
        EXPECTED,
    ),
    guidance=Guidance(
        example="protocol=TCP saddr=10.1.17.172 sport=43018 daddr=10.1.17.176 dport=6443 state:TCP_ESTABLISHED "
        "segment:DATA trigger:LOSS_PROBE bytes:512",
        causes="The segment or its acknowledgment was lost; the peer is gone, or a firewall between drops without a "
        "word (SYN).",
        look_at="PACKETLOSS of the same flow and netagent.tcp.sequence, here and on the peer's node: it has the "
        "location and the reason. Then drops of devices and queues (netdev, qdisc), conntrack, and policies.",
    ),
)


class _Made(NamedTuple):
    """What is sent again, and what made TCP do so; empty where that is not known."""

    segment: str
    trigger: str


_MADE: Final = (
    _Made("SYN", "TIMEOUT"),
    _Made("SYN-ACK", ""),
    _Made("DATA", "TIMEOUT"),
    _Made("DATA", "LOSS_PROBE"),
    _Made("DATA", "FAST"),
)
"""By the numbers of enum retransmission. A SYN-ACK is sent again by a timer, or in answer to a SYN that is."""

_SEGMENTS: Final = len(_MADE)
_BYTES: Final = _SEGMENTS + 1

_HOOKS: Final = (
    Hook("segments retransmitted", (AttachMethod("retransmitted"),)),
    Hook("SYN-ACKs retransmitted", (AttachMethod("retransmitted_synack"),)),
)


class _Retransmission(NamedTuple):
    """The rest of `struct tcpretrans_event`."""

    state: int
    sequence: int
    segments: int
    bytes: int
    timeouts: int
    expected: int


class TcpRetrans(EventProbe):
    """The running probe."""

    def __init__(self, environment: Environment) -> None:
        """Attach. Raises Unavailable."""
        super().__init__("tcpretrans", (TCPRETRANS,), attach(kernel_of(environment), "tcpretrans", _HOOKS))
        self._flow = flow_of(self._object.btf, "tcpretrans_event")
        self._retransmission = Layout(self._object.btf, "tcpretrans_event", _Retransmission)

    def _tables(self, found: Sequence[Occurrence], namespaces: Sequence[Namespace]) -> Iterable[Table]:
        """Segments and bytes of each namespace."""
        rows = {(each.cookie, ()): [0] * len(_SERIES) for each in namespaces}
        for each in found:
            if each.kind in (_SEGMENTS, _BYTES):
                rows[each.netns_cookie, ()][each.kind - _SEGMENTS] += each.total
        yield Table("tcpretrans", _SERIES, {key: tuple(row) for key, row in rows.items()})

    def _read(self, record: bytes, kind: int) -> tuple[EventType, dict[str, AttributeValue]]:
        if kind >= len(_MADE):
            raise BadRecord(f"retransmission of unknown kind {kind}")
        flow, retransmission = self._flow.read(record), self._retransmission.read(record)
        attributes = (
            flow_attributes(flow)
            | {
                TCP_STATE.name: tcp_state(retransmission.state),
                TCP_SEQUENCE.name: retransmission.sequence,
                _TIMEOUTS.name: retransmission.timeouts,
            }
            | _sent_again(_MADE[kind], retransmission)
            | expected_attributes(retransmission.expected)
        )
        return as_expected(TCPRETRANS) if retransmission.expected else TCPRETRANS, attributes


def _sent_again(made: _Made, retransmission: _Retransmission) -> dict[str, AttributeValue]:
    """What is sent again, why, and how much; without data it is the end of them (FIN)."""
    of_handshake = made.segment != "DATA"
    attributes: dict[str, AttributeValue] = {
        RETRANSMITTED.name: made.segment if of_handshake or retransmission.bytes else "FIN"
    }
    if made.trigger:
        attributes[_TRIGGER.name] = made.trigger
    if retransmission.bytes:
        attributes[_DATA.name] = retransmission.bytes
    if retransmission.segments > 1:
        attributes[_COUNT.name] = retransmission.segments
    return attributes


PROBE: Final = Probe(
    name="tcpretrans",
    summary="TCP segments sent again, by what made TCP do so",
    start=TcpRetrans,
    series=_SERIES,
    events=(TCPRETRANS,),
    cost="nothing but at retransmissions",
    capabilities=EBPF,
)
