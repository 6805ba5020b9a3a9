"""Who talked to whom, as bpf/include/flow.h records it: as attributes of an event."""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.bpf.layout import Layout
from otel_netagent.model.attribute import Attribute, AttributeValue


class FlowParts:
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
_PROTOCOL_NAMES: Final = {number: name.lower() for number, name in _PROTOCOLS.items()}
_ETHERTYPE_NAMES: Final = {number: name.lower() for number, name in _ETHERTYPES.items()}
_SPELLED: Final = {name.lower(): name for name in (*_PROTOCOLS.values(), *_ETHERTYPES.values())}
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

    Kept, since many events are of the same two ends.
    """
    if ethertype == _IPV4:
        return Ends(socket.inet_ntoa(saddr[:4]), socket.inet_ntoa(daddr[:4]), "ipv4")
    if daddr.startswith(_MAPPED_PREFIX):
        return Ends(socket.inet_ntoa(saddr[12:]), socket.inet_ntoa(daddr[12:]), "ipv4")
    return Ends(socket.inet_ntop(socket.AF_INET6, saddr), socket.inet_ntop(socket.AF_INET6, daddr), "ipv6")


def protocol_name(flow: Flow) -> str:
    """The protocol in lower case: `tcp`, `icmpv6`, `arp`, or a number where it has no name here."""
    if flow.known & FlowParts.ADDRESSES:
        return _PROTOCOL_NAMES.get(flow.protocol) or str(flow.protocol)
    return _ETHERTYPE_NAMES.get(flow.ethertype) or f"0x{flow.ethertype:04x}"


def _spelled(protocol: str) -> str:
    """The protocol as the text line shows it: `TCP`, `ICMPv6`."""
    return _SPELLED.get(protocol, protocol)


def tcp_flags_text(flags: int) -> str:
    """Names of the flags of a TCP segment, as `SYN|ACK`; `none` where there are none."""
    return "|".join(name for bit, name in enumerate(_TCP_FLAGS) if flags & 1 << bit) or "none"


PROTOCOL: Final = Attribute(
    "network.transport",
    str,
    "protocol of the packet or socket, in lower case; a number where it has no name here",
    before=" protocol=",
    text=_spelled,
)
NETWORK: Final = Attribute("network.type", str, "`ipv4` or `ipv6`")
SOURCE_ADDRESS: Final = Attribute("source.address", str, "address of the source", before=" saddr=")
SOURCE_PORT: Final = Attribute("source.port", int, "port of the source", before=" sport=")
DESTINATION_ADDRESS: Final = Attribute("destination.address", str, "address of the destination", before=" daddr=")
DESTINATION_PORT: Final = Attribute("destination.port", int, "port of the destination", before=" dport=")
ICMP_TYPE: Final = Attribute("netagent.icmp.type", int, "type of an ICMP message", before=" icmp_type=")
ICMP_CODE: Final = Attribute("netagent.icmp.code", int, "code of an ICMP message", before=" icmp_code=")
FRAGMENT: Final = Attribute(
    "netagent.packet.fragment", str, "`later`: not the first fragment, so that there are no ports", before=" fragment="
)
HEADER: Final = Attribute(
    "netagent.packet.header", str, "`truncated`: the packet ends within its headers", before=" header="
)
CONNECTION: Final = (PROTOCOL, NETWORK, SOURCE_ADDRESS, SOURCE_PORT, DESTINATION_ADDRESS, DESTINATION_PORT)
"""What an event says of the flow of a socket; the source is the local end."""

FLOW: Final = (*CONNECTION, ICMP_TYPE, ICMP_CODE, FRAGMENT, HEADER)
"""What an event says of the flow of a packet, as far as its headers show."""

_INSTEAD_OF_PORTS: Final = FlowParts.ICMP | FlowParts.FRAGMENT | FlowParts.TRUNCATED


def flow_attributes(flow: Flow) -> dict[str, AttributeValue]:
    """What is known of a flow."""
    attributes: dict[str, AttributeValue] = {PROTOCOL.name: protocol_name(flow)}
    if flow.known & FlowParts.ADDRESSES:
        ends = _ends(flow.saddr, flow.daddr, flow.ethertype)
        attributes[NETWORK.name] = ends.network
        attributes[SOURCE_ADDRESS.name] = ends.source
        attributes[DESTINATION_ADDRESS.name] = ends.destination
    if flow.known & FlowParts.PORTS:
        attributes[SOURCE_PORT.name] = flow.sport
        attributes[DESTINATION_PORT.name] = flow.dport
    if flow.known & _INSTEAD_OF_PORTS:
        attributes |= _instead_of_ports(flow)
    return attributes


def _instead_of_ports(flow: Flow) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {}
    if flow.known & FlowParts.ICMP:
        attributes |= {ICMP_TYPE.name: flow.icmp_type, ICMP_CODE.name: flow.icmp_code}
    if flow.known & FlowParts.FRAGMENT:
        attributes[FRAGMENT.name] = "later"
    if flow.known & FlowParts.TRUNCATED:
        attributes[HEADER.name] = "truncated"
    return attributes
