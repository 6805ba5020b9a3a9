"""Packets made and read byte by byte, to say on the wire what no honest kernel would."""

from __future__ import annotations

import enum
import ipaddress
import socket
import struct
from dataclasses import dataclass

from lab.truth import Endpoint, Flow

PROTOCOLS = {"ICMP": socket.IPPROTO_ICMP, "TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP, "ICMPv6": 58}
"""Numbers of the protocols that flows name (IANA, Assigned Internet Protocol Numbers)."""

_HOP_LIMIT = 64


class Flag(enum.IntFlag):
    """Control bits of a TCP header (RFC 9293, 3.1)."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment: what of it matters to a connection.

    `timestamp` is the sender's clock (RFC 7323); None for a segment without, and for one that was read.
    """

    flow: Flow
    flags: Flag
    sequence: int
    acknowledgment: int = 0
    payload: bytes = b""
    window: int = 65535
    timestamp: int | None = None

    @property
    def length(self) -> int:
        """How far the segment moves the sequence number: SYN and FIN count as a byte each."""
        return len(self.payload) + bool(self.flags & Flag.SYN) + bool(self.flags & Flag.FIN)

    def packet(self, checksum_error: int = 0) -> bytes:
        """The segment in its IP packet."""
        options = b"" if self.timestamp is None else struct.pack("!BBBBII", 1, 1, 8, 10, self.timestamp, 0)
        header = struct.pack(
            "!HHIIBBHHH",
            self.flow.source.port,
            self.flow.destination.port,
            self.sequence,
            self.acknowledgment,
            (20 + len(options)) // 4 << 4,
            self.flags,
            self.window,
            0,
            0,
        )
        return ip_packet(self.flow, _summed(self.flow, header + options + self.payload, 16, checksum_error))

    @classmethod
    def parse(cls, packet: bytes) -> Segment | None:
        """The segment of an IP packet without extension headers; None where it is no whole TCP header."""
        version = packet[0] >> 4
        if packet[9 if version == 4 else 6] != socket.IPPROTO_TCP:
            return None
        start = (packet[0] & 0xF) * 4 if version == 4 else 40
        if len(packet) < start + 20:
            return None
        source, destination = (packet[12:16], packet[16:20]) if version == 4 else (packet[8:24], packet[24:40])
        sport, dport, sequence, acknowledgment, offset, flags, window = struct.unpack_from("!HHIIBBH", packet, start)
        return cls(
            Flow("TCP", Endpoint(_text(source), sport), Endpoint(_text(destination), dport)),
            Flag(flags),
            sequence,
            acknowledgment,
            packet[start + (offset >> 4) * 4 :],
            window,
        )


def udp_packet(flow: Flow, data: bytes, checksum_error: int = 0) -> bytes:
    """A UDP datagram in its IP packet."""
    return ip_packet(flow, udp_datagram(flow, data, checksum_error))


def udp_datagram(flow: Flow, data: bytes, checksum_error: int = 0) -> bytes:
    """A UDP header and its data; the checksum differs from the right one in the bits of `checksum_error`."""
    header = struct.pack("!HHHH", flow.source.port, flow.destination.port, 8 + len(data), 0)
    return _summed(flow, header + data, 6, checksum_error)


def echo_request(flow: Flow, checksum_error: int = 0) -> bytes:
    """An ICMP or ICMPv6 echo request (RFC 792, RFC 4443) in its IP packet."""
    if flow.protocol == "ICMPv6":
        return ip_packet(flow, _summed(flow, struct.pack("!BBHHH", 128, 0, 0, 1, 1), 2, checksum_error))
    message = struct.pack("!BBHHH", 8, 0, 0, 1, 1)
    return ip_packet(flow, _with_sum_at(2, message, checksum(message) ^ checksum_error))


def ip_packet(flow: Flow, payload: bytes, protocol: int | None = None, fragment: int = 0) -> bytes:
    """An IP packet of the version of the flow's addresses.

    `protocol` is what the header says of the payload, if not the flow's own; `fragment` is IPv4's field of flags and
    offset (RFC 791).
    """
    number = _protocol_number(flow) if protocol is None else protocol
    source, destination = _packed(flow)
    if len(source) == 16:
        return struct.pack("!IHBB", 6 << 28, len(payload), number, _HOP_LIMIT) + source + destination + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, fragment, _HOP_LIMIT, number, 0)
    return _with_sum_at(10, header + source + destination, checksum(header + source + destination)) + payload


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _summed(flow: Flow, body: bytes, at: int, error: int) -> bytes:
    """The body with its checksum, which also covers the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1)."""
    source, destination = _packed(flow)
    pseudo = source + destination + struct.pack("!II", len(body), _protocol_number(flow))
    return _with_sum_at(at, body, checksum(pseudo + body) ^ error)


def _with_sum_at(at: int, data: bytes, value: int) -> bytes:
    return data[:at] + struct.pack("!H", value) + data[at + 2 :]


def _protocol_number(flow: Flow) -> int:
    return PROTOCOLS[flow.protocol] if flow.protocol in PROTOCOLS else int(flow.protocol)


def _packed(flow: Flow) -> tuple[bytes, bytes]:
    return ipaddress.ip_address(flow.source.address).packed, ipaddress.ip_address(flow.destination.address).packed


def _text(address: bytes) -> str:
    return str(ipaddress.ip_address(address))
