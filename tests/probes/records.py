"""Records as the kernel side writes them, of every kind of event and with every part that may be there or not."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from otel_netagent.probing.flow import FlowParts

_HEADER: Final = struct.Struct("=QQII")
_FLOW: Final = struct.Struct("=16s16sHHHBBBBBx")
_DELAY: Final = struct.Struct("=QII16s")
_PAD: Final = bytes(4)

_STACK_DEPTH: Final = 32
_IPV4, _IPV6, _ARP = 0x0800, 0x86DD, 0x0806
_ENDS: Final = FlowParts.ADDRESSES | FlowParts.PORTS
_MS: Final = 1_000_000


class Record(NamedTuple):
    """A record of a probe's ring buffer, and in a few words what it tells."""

    probe: str
    case: str
    content: bytes


def _header(kind: int) -> bytes:
    return _HEADER.pack(5_000, 77, 4_026_532_001, kind)


def flow(
    source: str = "10.0.0.1",
    destination: str = "10.0.0.2",
    ethertype: int = _IPV4,
    *,
    protocol: int = 6,
    known: int = _ENDS,
    icmp: tuple[int, int] = (0, 0),
    flags: int = 0,
) -> bytes:
    """`struct flow`, from port 40000 to port 443."""
    ends = (ipaddress.ip_address(each).packed.ljust(16, b"\0") for each in (source, destination))
    return _FLOW.pack(*ends, 40_000, 443, ethertype, protocol, known, *icmp, flags)


FLOWS: Final = {
    "TCP": flow(),
    "UDP over IPv6": flow("fd00::1", "2001:db8::2", _IPV6, protocol=17),
    "a mapped address": flow("::ffff:10.0.0.1", "::ffff:10.0.0.2", _IPV6),
    "ICMP": flow(protocol=1, known=FlowParts.ADDRESSES | FlowParts.ICMP, icmp=(3, 13)),
    "ICMPv6": flow("fd00::1", "fd00::2", _IPV6, protocol=58, known=FlowParts.ADDRESSES | FlowParts.ICMP, icmp=(1, 0)),
    "a later fragment": flow(protocol=17, known=FlowParts.ADDRESSES | FlowParts.FRAGMENT),
    "a truncated header of TCP": flow(known=FlowParts.ADDRESSES | FlowParts.TRUNCATED),
    "a truncated header of IPv4": flow(known=FlowParts.TRUNCATED),
    "a protocol without a name": flow(protocol=253, known=FlowParts.ADDRESSES),
    "UDPLite": flow(protocol=136),
    "ARP": flow(ethertype=_ARP, known=0),
    "IPv6 in IPv4": flow(protocol=41, known=FlowParts.ADDRESSES),
    "an ethertype without a name": flow(ethertype=0x88F7, known=0),
    "an unknown ethertype": flow(ethertype=0, known=0),
}


def _dropped(
    of: bytes = FLOWS["TCP"], reason: int = 60_000, expected: int = 0, stack: tuple[int, ...] = (0x800, 0x1000, 0x2000)
) -> bytes:
    """For a reason and in functions that have no name: those that have one differ from kernel to kernel."""
    rest = struct.pack("=IIII", expected, 4_000_000_000, 60, 8 * len(stack))
    frames = struct.pack(f"={_STACK_DEPTH}Q", *stack, *[7] * (_STACK_DEPTH - len(stack)))
    return _header(reason) + struct.pack("=Q", 0x1000) + of + rest + _PAD + frames


def _reset(kind: int, state: int = 0, reason: int = 0, pid: int = 0) -> bytes:
    return _header(kind) + FLOWS["TCP"] + struct.pack("=III16s", state, reason, pid, b"a\nname\0left")


def _retransmitted(
    kind: int, *, state: int = 1, segments: int = 1, size: int = 512, expected: int = 0, of: bytes = FLOWS["TCP"]
) -> bytes:
    return _header(kind) + of + struct.pack("=IIIIII", state, 4_000_000_000, segments, size, 2, expected)


def _in_time_wait(flags: int, size: int = 0, expected: int = 0) -> bytes:
    of = flow(known=_ENDS | FlowParts.TCP_FLAGS, flags=flags)
    return _header(0) + of + struct.pack("=III", 4_000_000_000, size, expected)


def _slow(kind: int, latency_ns: int, rest: bytes, of: bytes = FLOWS["TCP"]) -> bytes:
    return _header(kind) + of + _PAD + struct.pack("=Q", latency_ns) + rest


def _parts(*nanoseconds: int) -> bytes:
    return struct.pack("=5Q", *nanoseconds)


def _delayed(kind: int, command: bytes, *rest: int, pid: int = 812, latency_ns: int = 37_999_999) -> bytes:
    return _header(kind) + _DELAY.pack(latency_ns, 3, pid, command) + struct.pack("=II", *rest)


_READER: Final = struct.pack("=I16s", 4711, b"java\x1b")
_INTERFACE: Final = b"eth0".ljust(16, b"\0")


def records() -> Iterator[Record]:
    """All of them."""
    for name, of in FLOWS.items():
        yield Record("packetloss", name, _dropped(of))
        yield Record("netiftxlat", name, _slow(0, 143 * _MS, _INTERFACE, of))
    tcp = flow(known=_ENDS | FlowParts.TCP_FLAGS, flags=0x10)
    yield Record("packetloss", "a segment with its number", _dropped(tcp))
    yield Record("packetloss", "no fault", _dropped(tcp, expected=1))
    yield Record("packetloss", "no stack", _dropped(stack=()))
    yield Record("packetloss", "a stack without the place", _dropped(stack=(0x2000, 0x3000)))
    for kind in range(6):
        yield Record("tcpreset", f"kind {kind}", _reset(kind))
        yield Record("tcpreset", f"kind {kind} with all", _reset(kind, 1, 9999, 4711))
    yield Record("tcpreset", "a state without a name", _reset(1, 99))
    for kind in range(5):
        yield Record("tcpretrans", f"kind {kind}", _retransmitted(kind))
        yield Record("tcpretrans", f"kind {kind} without data", _retransmitted(kind, size=0))
    yield Record("tcpretrans", "several segments", _retransmitted(2, segments=3, size=3_000))
    yield Record("tcpretrans", "no fault", _retransmitted(4, expected=1))
    yield Record("tcpretrans", "a state without a name", _retransmitted(2, state=0))
    yield Record("tcpretrans", "IPv6", _retransmitted(2, of=flow("fd00::1", "fd00::2", _IPV6)))
    yield Record("tcptwrcv", "SYN", _in_time_wait(0x02))
    yield Record("tcptwrcv", "data", _in_time_wait(0x18, size=99))
    yield Record("tcptwrcv", "no fault", _in_time_wait(0x11, expected=1))
    yield Record("tcptwrcv", "no flags", _in_time_wait(0))
    for kind in range(2):
        for latency_ns in (0, 820_999, 153 * _MS):
            yield Record("socketlatency", f"kind {kind}, {latency_ns} ns", _slow(kind, latency_ns, _READER + _PAD))
            yield Record("netiftxlat", f"kind {kind}, {latency_ns} ns", _slow(kind, latency_ns, _INTERFACE))
        yield Record("kernellatency", f"kind {kind}, no parts", _slow(kind, 37 * _MS, _parts(0, 0, 0, 0, 0)))
        yield Record("kernellatency", f"kind {kind}, some parts", _slow(kind, 37 * _MS, _parts(0, 4_200, 0, 0, _MS)))
        parts = _parts(36 * _MS, 4_200, 999_999, 35 * _MS, 820_000)
        yield Record("kernellatency", f"kind {kind}, all parts", _slow(kind, 37 * _MS, parts))
    for kind in range(4):
        yield Record("net_softirq", f"kind {kind}", _delayed(kind, b"ksoftirqd/3", 2 + kind % 2, 0))
    yield Record("net_softirq", "an idle CPU", _delayed(0, b"swapper/3", 3, 0, pid=0))
    for kind in range(2):
        yield Record("virtcmdlat", f"kind {kind}", _delayed(kind, b"ip\nx", 0, 1))
    yield Record("virtcmdlat", "a class without a name", _delayed(0, b"ip", 77, 2, latency_ns=820_999))
