"""Who talked to whom, as bpf/include/flow.h records it: for the text line and for attributes."""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.bpf.layout import Layout
from otel_netagent.model.event import AttributeValue


class Known:
    """What of a flow is known (enum flow_known): bits. Of an enum.IntFlag each test would cost a microsecond."""

    ADDRESSES: Final = 1 << 0
    PORTS: Final = 1 << 1
    ICMP: Final = 1 << 2
    FRAGMENT: Final = 1 << 3
    TRUNCATED: Final = 1 << 4
    TCP_FLAGS: Final = 1 << 5


class Flow(NamedTuple):
    """Members of `struct flow`."""

    saddr: bytes
    daddr: bytes
    sport: int
    dport: int
    ethertype: int
    protocol: int
    known: int
    icmp_type: int
    icmp_code: int
    tcp_flags: int = 0


def flow_of(btf: Btf, structure: str) -> Layout[Flow]:
    """The flow of a record whose structure has it as `flow`."""
    return Layout(btf, structure, Flow, part="flow")


_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_ETHERTYPES: Final = {_IPV4: "IPv4", _IPV6: "IPv6", 0x0806: "ARP", 0x8100: "VLAN", 0x88CC: "LLDP"}
_PROTOCOLS: Final = {
    1: "ICMP",
    2: "IGMP",
    6: "TCP",
    17: "UDP",
    33: "DCCP",
    41: "IPv6",
    47: "GRE",
    50: "ESP",
    51: "AH",
    58: "ICMPv6",
    132: "SCTP",
    136: "UDPLite",
}
_TCP_FLAGS: Final = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
"""By their bits, the lowest first (RFC 9293, 3.1)."""
_MAPPED_PREFIX: Final = bytes(10) + b"\xff\xff"


class Ends(NamedTuple):
    """Addresses of a flow as text, and `ipv4` or `ipv6`."""

    source: str
    destination: str
    network: str


@lru_cache(maxsize=1024)
def _ends(saddr: bytes, daddr: bytes, ethertype: int) -> Ends:
    """Addresses as on the wire: a socket of AF_INET6 talks IPv4 under mapped addresses (RFC 4291, 2.5.5.2).

    Kept, since each event needs them for its line and for its attributes, and many are of the same two ends.
    """
    if ethertype == _IPV4:
        return Ends(socket.inet_ntoa(saddr[:4]), socket.inet_ntoa(daddr[:4]), "ipv4")
    if daddr.startswith(_MAPPED_PREFIX):
        return Ends(socket.inet_ntoa(saddr[12:]), socket.inet_ntoa(daddr[12:]), "ipv4")
    return Ends(socket.inet_ntop(socket.AF_INET6, saddr), socket.inet_ntop(socket.AF_INET6, daddr), "ipv6")


def protocol_name(flow: Flow) -> str:
    """The protocol as the text line shows it: `TCP`, `ICMPv6`, `ARP`, or a number where it has no name here."""
    if flow.known & Known.ADDRESSES:
        return _PROTOCOLS.get(flow.protocol) or str(flow.protocol)
    return _ETHERTYPES.get(flow.ethertype) or f"0x{flow.ethertype:04x}"


def tcp_flags_text(flags: int) -> str:
    """Names of the flags of a TCP segment, as `SYN|ACK`; `none` where there are none."""
    return "|".join(name for bit, name in enumerate(_TCP_FLAGS) if flags & 1 << bit) or "none"


def flow_text(flow: Flow) -> str:
    """`protocol=TCP saddr=A sport=N daddr=B dport=N`, with those parts that are known."""
    parts = [f"protocol={protocol_name(flow)}"]
    if flow.known & Known.ADDRESSES:
        ends = _ends(flow.saddr, flow.daddr, flow.ethertype)
        if flow.known & Known.PORTS:
            parts.append(f"saddr={ends.source} sport={flow.sport} daddr={ends.destination} dport={flow.dport}")
        else:
            parts.append(f"saddr={ends.source} daddr={ends.destination}")
    if flow.known & Known.ICMP:
        parts.append(f"icmp_type={flow.icmp_type} icmp_code={flow.icmp_code}")
    if flow.known & Known.FRAGMENT:
        parts.append("fragment=later")
    if flow.known & Known.TRUNCATED:
        parts.append("header=truncated")
    return " ".join(parts)


def flow_attributes(flow: Flow) -> dict[str, AttributeValue]:
    """What is known of a flow, under the names of OpenTelemetry's semantic conventions where these have one."""
    attributes: dict[str, AttributeValue] = {"network.transport": protocol_name(flow).lower()}
    if flow.known & Known.ADDRESSES:
        ends = _ends(flow.saddr, flow.daddr, flow.ethertype)
        attributes |= {
            "network.type": ends.network,
            "source.address": ends.source,
            "destination.address": ends.destination,
        }
    if flow.known & Known.PORTS:
        attributes |= {"source.port": flow.sport, "destination.port": flow.dport}
    if flow.known & Known.ICMP:
        attributes |= {"netagent.icmp.type": flow.icmp_type, "netagent.icmp.code": flow.icmp_code}
    return attributes
