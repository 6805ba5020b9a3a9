"""Who talked to whom, as bpf/include/flow.h records it: for the text line and for attributes."""

from __future__ import annotations

import enum
import socket
from typing import Final, NamedTuple

from otel_netagent.telemetry.event import AttributeValue


class Known(enum.IntFlag):
    """What of a flow is known (enum flow_known)."""

    ADDRESSES = 1 << 0
    PORTS = 1 << 1
    ICMP = 1 << 2
    FRAGMENT = 1 << 3
    TRUNCATED = 1 << 4
    TCP_FLAGS = 1 << 5


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


def _ends(flow: Flow) -> Ends:
    """Addresses as on the wire: a socket of AF_INET6 talks IPv4 under mapped addresses (RFC 4291, 2.5.5.2)."""
    if flow.ethertype == _IPV4:
        return Ends(socket.inet_ntoa(flow.saddr[:4]), socket.inet_ntoa(flow.daddr[:4]), "ipv4")
    if flow.daddr.startswith(_MAPPED_PREFIX):
        return Ends(socket.inet_ntoa(flow.saddr[12:]), socket.inet_ntoa(flow.daddr[12:]), "ipv4")
    return Ends(socket.inet_ntop(socket.AF_INET6, flow.saddr), socket.inet_ntop(socket.AF_INET6, flow.daddr), "ipv6")


def protocol_name(flow: Flow) -> str:
    """The protocol as the text line shows it: `TCP`, `ICMPv6`, `ARP`, or a number where it has no name here."""
    if flow.known & Known.ADDRESSES:
        return _PROTOCOLS.get(flow.protocol, str(flow.protocol))
    return _ETHERTYPES.get(flow.ethertype, f"0x{flow.ethertype:04x}")


def tcp_flags_text(flags: int) -> str:
    """Names of the flags of a TCP segment, as `SYN|ACK`; `none` where there are none."""
    return "|".join(name for bit, name in enumerate(_TCP_FLAGS) if flags & 1 << bit) or "none"


def flow_text(flow: Flow) -> str:
    """`protocol=TCP saddr=A sport=N daddr=B dport=N`, with those parts that are known."""
    parts = [f"protocol={protocol_name(flow)}"]
    if flow.known & Known.ADDRESSES:
        ends = _ends(flow)
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
        ends = _ends(flow)
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
