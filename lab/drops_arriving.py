"""Packets that the host drops as they arrive: without a receiver, damaged, unknown, or not its own."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.counters import counters
from lab.scenario import WITHOUT_SOCKETS, Scenario
from lab.segments import PROTOCOLS, Flag, Segment, echo_request, ip_packet, udp_datagram, udp_packet
from lab.truth import Endpoint, Family, Flow, Truth
from lab.verdict import Verdict
from lab.waiting import eventually
from lab.wire import Wire

_SENDER_PORT = 4000
_CLOSED_PORT = 9
_WRONG_BITS = 0x55AA
_DESTINATION_OPTIONS = 60
_IPV6_FRAGMENT = 44
_IPV4_MORE_FRAGMENTS = 0x2000


def _udp_flow(wire: Wire, family: Family) -> Flow:
    return Flow("UDP", Endpoint(wire.address(family), _SENDER_PORT), wire.host.endpoint(family, _CLOSED_PORT))


def _tcp_flow(wire: Wire, family: Family) -> Flow:
    return Flow("TCP", Endpoint(wire.address(family), _SENDER_PORT), wire.host.endpoint(family, _CLOSED_PORT))


def _icmp_flow(wire: Wire, family: Family) -> Flow:
    protocol = "ICMPv6" if family.ip == 6 else "ICMP"
    return Flow(protocol, Endpoint(wire.address(family)), wire.host.endpoint(family))


def _flow_of_unknown_protocol(wire: Wire, family: Family) -> Flow:
    """253 is for experiments (RFC 3692)."""
    return Flow("253", Endpoint(wire.address(family)), wire.host.endpoint(family))


def _flow_from_localhost(wire: Wire, family: Family) -> Flow:
    localhost = "::1" if family.ip == 6 else "127.0.0.1"
    return Flow("UDP", Endpoint(localhost, _SENDER_PORT), wire.host.endpoint(family, _CLOSED_PORT))


def _flow_from_afar(wire: Wire, family: Family) -> Flow:
    """An address for documentation (RFC 5737, RFC 3849), to which the host has no route."""
    afar = "2001:db8::1" if family.ip == 6 else "192.0.2.1"
    return Flow("UDP", Endpoint(afar, _SENDER_PORT), wire.host.endpoint(family, _CLOSED_PORT))


def _flow_to_another(wire: Wire, family: Family) -> Flow:
    return Flow("UDP", Endpoint(wire.address(family), _SENDER_PORT), Endpoint(wire.address(family, 77), _CLOSED_PORT))


@dataclass(frozen=True, slots=True)
class Forged:
    """A packet that the wire delivers `times` times, and what the kernel says of it in each family."""

    build: Callable[[Flow], bytes]
    verdicts: Mapping[Family, Verdict]
    flow: Callable[[Wire, Family], Flow] = _udp_flow
    times: int = 1

    def __call__(self, wire: Wire, family: Family) -> Truth:
        """Deliver it."""
        flow = self.flow(wire, family)
        for _ in range(self.times):
            wire.send(self.build(flow))
        return self.verdicts[family].truth(wire.host.namespace.inode, flow, self.times)

    def scenario(self, name: str) -> Scenario[Wire]:
        """The scenario of delivering it in each family that has a verdict."""
        return Scenario(name, self, tuple(self.verdicts))


def _datagram(flow: Flow) -> bytes:
    return udp_packet(flow, b"data")


def _datagram_with_wrong_sum(flow: Flow) -> bytes:
    return udp_packet(flow, b"data", _WRONG_BITS)


def _segment_with_wrong_sum(flow: Flow) -> bytes:
    return Segment(flow, Flag.SYN, sequence=1).packet(_WRONG_BITS)


def _echo_with_wrong_sum(flow: Flow) -> bytes:
    return echo_request(flow, _WRONG_BITS)


def _datagram_with_wrong_header_sum(flow: Flow) -> bytes:
    packet = bytearray(_datagram(flow))
    packet[10] ^= 0xFF
    return bytes(packet)


def _cut_off_packet(flow: Flow) -> bytes:
    return _datagram(flow)[:-2]


def _cut_off_datagram(flow: Flow) -> bytes:
    """The IP header is right; the UDP header speaks of more data than came."""
    return ip_packet(flow, udp_datagram(flow, b"data")[:-2])


def _unknown_protocol(flow: Flow) -> bytes:
    return ip_packet(flow, b"data")


def _behind_extension_headers(flow: Flow) -> bytes:
    """Two headers of padding before UDP: hop-by-hop and destination options (RFC 8200, 4.3 and 4.6)."""
    padding = bytes([0, 1, 4, 0, 0, 0, 0])
    hop_by_hop = bytes([_DESTINATION_OPTIONS]) + padding
    destination = bytes([PROTOCOLS["UDP"]]) + padding
    return ip_packet(flow, hop_by_hop + destination + udp_datagram(flow, b"data"), protocol=0)


def _filtered_by_reverse_path(wire: Wire, family: Family) -> Truth:
    wire.host.namespace.sysctl("ipv4/conf/all/rp_filter", 1)
    flow = _flow_from_afar(wire, family)
    wire.send(_datagram(flow))
    return Verdict("IP_RPFILTER", "TcpExt.IPReversePathFilter").truth(wire.host.namespace.inode, flow)


def _without_ipv6(wire: Wire, family: Family) -> Truth:
    wire.host.namespace.sysctl(f"ipv6/conf/{wire.host.device}/disable_ipv6", 1)
    flow = _udp_flow(wire, family)
    wire.send(_datagram(flow))
    return Verdict("IPV6DISABLED", "Ip6InDiscards").truth(wire.host.namespace.inode, flow)


def _incomplete(wire: Wire, family: Family) -> Truth:
    """The first fragment comes, the rest never: the kernel gives up after a second instead of its usual 30 or 60.

    The flow of a fragment has ports where it is the first, as here.
    """
    namespace = wire.host.namespace
    namespace.sysctl("ipv4/ipfrag_time", 1)
    namespace.sysctl("ipv6/ip6frag_time", 1)
    flow = _udp_flow(wire, family)
    first = udp_datagram(flow, bytes(24))[:16]
    if family.ip == 6:
        fragment_header = struct.pack("!BBHI", PROTOCOLS["UDP"], 0, 1, 1)
        wire.send(ip_packet(flow, fragment_header + first, protocol=_IPV6_FRAGMENT))
        verdict = Verdict("FRAG_REASM_TIMEOUT", "Ip6ReasmTimeout")
    else:
        wire.send(ip_packet(flow, first, fragment=_IPV4_MORE_FRAGMENTS))
        verdict = Verdict("FRAG_REASM_TIMEOUT", "Ip.ReasmTimeout")
    eventually(lambda: counters(namespace).get(verdict.counter))
    return verdict.truth(namespace.inode, flow)


def _verdicts(reason: str, ipv4: str, ipv6: str) -> Mapping[Family, Verdict]:
    """The same reason in both families, and the counter of each."""
    return {Family.IPV4: Verdict(reason, ipv4), Family.IPV6: Verdict(reason, ipv6)}


_FORGED: Mapping[str, Forged] = {
    "udp_no_socket": Forged(_datagram, _verdicts("NO_SOCKET", "Udp.NoPorts", "Udp6NoPorts"), times=3),
    "udp_behind_extension_headers": Forged(
        _behind_extension_headers, {Family.IPV6: Verdict("NO_SOCKET", "Udp6NoPorts")}
    ),
    "udp_checksum": Forged(_datagram_with_wrong_sum, _verdicts("UDP_CSUM", "Udp.InCsumErrors", "Udp6InCsumErrors")),
    "tcp_checksum": Forged(
        _segment_with_wrong_sum, _verdicts("TCP_CSUM", "Tcp.InCsumErrors", "Tcp.InCsumErrors"), _tcp_flow
    ),
    "icmp_checksum": Forged(
        _echo_with_wrong_sum, _verdicts("ICMP_CSUM", "Icmp.InCsumErrors", "Icmp6InCsumErrors"), _icmp_flow
    ),
    "ip_checksum": Forged(_datagram_with_wrong_header_sum, {Family.IPV4: Verdict("IP_CSUM", "IpExt.InCsumErrors")}),
    "ip_truncated": Forged(_cut_off_packet, _verdicts("PKT_TOO_SMALL", "IpExt.InTruncatedPkts", "Ip6InTruncatedPkts")),
    "udp_truncated": Forged(_cut_off_datagram, _verdicts("PKT_TOO_SMALL", "Udp.InErrors", "Udp6InErrors")),
    "unknown_protocol": Forged(
        _unknown_protocol,
        _verdicts("IP_NOPROTO", "Ip.InUnknownProtos", "Ip6InUnknownProtos"),
        _flow_of_unknown_protocol,
    ),
    "from_localhost": Forged(
        _datagram,
        {Family.IPV4: Verdict("IP_LOCALNET"), Family.IPV6: Verdict("IP_INHDR", "Ip6InHdrErrors")},
        _flow_from_localhost,
    ),
    "for_another_host": Forged(
        _datagram, _verdicts("IP_INADDRERRORS", "Ip.InAddrErrors", "Ip6InAddrErrors"), _flow_to_another
    ),
}

ON_WIRE: tuple[Scenario[Wire], ...] = (
    *(forged.scenario(name) for name, forged in _FORGED.items()),
    Scenario("reverse_path", _filtered_by_reverse_path, (Family.IPV4,)),
    Scenario("ipv6_disabled", _without_ipv6, (Family.IPV6,)),
    Scenario("fragments_incomplete", _incomplete, WITHOUT_SOCKETS, deferred=True),
)
