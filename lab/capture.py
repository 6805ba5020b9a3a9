"""What really was on a device: a packet socket that listens beside the kernel's own handling."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from lab.links import Host
from lab.segments import Segment

_ETH_P_ALL = 0x0003


@dataclass(frozen=True, slots=True)
class Capture:
    """IP packets of one device, both ways (packet(7), cooked)."""

    _socket: socket.socket

    def packets(self) -> Iterator[tuple[bool, bytes]]:
        """What came since the last call: whether the namespace sent it, and the packet."""
        with contextlib.suppress(BlockingIOError):
            while True:
                packet, (_, _, kind, *_) = self._socket.recvfrom(65535)
                yield kind == socket.PACKET_OUTGOING, packet

    def segments(self) -> tuple[list[Segment], list[Segment]]:
        """The TCP segments sent and received since the last call."""
        sent: list[Segment] = []
        received: list[Segment] = []
        for outgoing, packet in self.packets():
            if segment := Segment.parse(packet):
                (sent if outgoing else received).append(segment)
        return sent, received


@contextlib.contextmanager
def capturing(host: Host) -> Iterator[Capture]:
    """Capture on the host's device."""
    with host.namespace.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as listener:
        listener.setblocking(False)
        listener.bind((host.device, _ETH_P_ALL))
        yield Capture(listener)
