"""Segments that reach a connection in TIME_WAIT and end there: what the peer sends when, for this side, all is over.

Events are emitted for data, SYN and RST, and for a FIN that is repeated (our last ACK was lost). The first FIN, with
which a close by this side ends, and bare ACKs are expected: they are counted, and emitted only where
`event_config.expected` asks for them. So is each FIN of a peer without timestamps (RFC 7323), since nothing shows
whether it is the first. A SYN that opens a new connection does not end in TIME_WAIT.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.layout import Layout
from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.model.event import EventType, Guidance
from otel_netagent.probing.attach import AttachMethod, Hook, attach, kernel_of
from otel_netagent.probing.capability import EBPF_AND_SYMBOLS
from otel_netagent.probing.declaration import Environment, Probe
from otel_netagent.probing.ending import prepare_endings, time_wait_hook
from otel_netagent.probing.event_probe import EventProbe
from otel_netagent.probing.expected import EXPECTED, as_expected, expected_attributes
from otel_netagent.probing.flow import FLOW, flow_attributes, flow_of, tcp_flags_text
from otel_netagent.probing.segment import TCP_SEQUENCE

_FLAGS: Final = Attribute("netagent.tcp.flags", str, "names of the segment's flags", before=" flags:")
_DATA: Final = Attribute("netagent.tcp.bytes", int, "data in the segment", "By")

TCP_TW_RCV: Final = EventType(
    "TCP_TW_RCV",
    "netagent.tcptwrcv",
    "a segment reaches a TIME_WAIT socket and is consumed by it",
    (*FLOW, _FLAGS, TCP_SEQUENCE, _DATA, EXPECTED),
    guidance=Guidance(
        example="protocol=TCP saddr=10.1.17.172 sport=43018 daddr=10.1.17.176 dport=6443 flags:SYN",
        causes="The peer uses the port again too soon (SYN), has not seen the end (FIN, lost ACK), or goes on sending "
        "to a connection that this side has closed (data).",
        look_at="Who picks the client's ports: NAT with too few of them, a small ip_local_port_range, tcp_tw_reuse. "
        "TCPRETRANS and PACKETLOSS of the same flow.",
    ),
)

_HOOKS: Final = (
    Hook("segments freed", (AttachMethod("segment_ended"),)),
    time_wait_hook("segments that end in TIME_WAIT", "segment_ended"),
)


class _Segment(NamedTuple):
    """The rest of `struct tcptwrcv_event`."""

    sequence: int
    bytes: int
    expected: int


class TcpTwRcv(EventProbe):
    """The running probe."""

    def __init__(self, environment: Environment) -> None:
        """Attach. Raises Unavailable."""
        kernel = kernel_of(environment)
        attached = attach(kernel, "tcptwrcv", _HOOKS, partial(prepare_endings, symbols=kernel.symbols))
        super().__init__("tcptwrcv", (TCP_TW_RCV,), attached)
        self._flow = flow_of(self._object.btf, "tcptwrcv_event")
        self._segment = Layout(self._object.btf, "tcptwrcv_event", _Segment)

    def _read(self, record: bytes, _kind: int) -> tuple[EventType, dict[str, AttributeValue]]:
        flow, segment = self._flow.read(record), self._segment.read(record)
        attributes = (
            flow_attributes(flow)
            | {
                _FLAGS.name: tcp_flags_text(flow.tcp_flags),
                TCP_SEQUENCE.name: segment.sequence,
                _DATA.name: segment.bytes,
            }
            | expected_attributes(segment.expected)
        )
        return as_expected(TCP_TW_RCV) if segment.expected else TCP_TW_RCV, attributes


PROBE: Final = Probe(
    name="tcptwrcv",
    summary="segments that reach a connection in TIME_WAIT and end there",
    start=TcpTwRcv,
    events=(TCP_TW_RCV,),
    cost="nothing but where segments meet TIME_WAIT",
    capabilities=EBPF_AND_SYMBOLS,
)
