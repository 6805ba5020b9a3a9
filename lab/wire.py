"""A stage whose far end is no kernel but a puppet: a tun device, at which the test itself is the other host."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from lab.links import Host, await_local_route, ip_batch
from lab.namespace import Namespace
from lab.segments import Flag, Segment
from lab.truth import Endpoint, Family, Flow

_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Wire:
    """The far end of a tun device of `host`: packets written here arrive there, in the same call and on the same CPU.

    Every other address of the device's networks (10.9.0.0/24, fd09::/64) is behind the wire, and no one answers for it.
    """

    host: Host
    _tun: int

    def send(self, packet: bytes) -> None:
        """Let an IP packet arrive at the host; when this returns, the kernel has dealt with it."""
        os.write(self._tun, packet)

    def packets(self) -> Iterator[bytes]:
        """IP packets that the host sends, each as soon as it comes. Raises TimeoutError when none comes any more."""
        deadline = time.monotonic() + _PATIENCE_S
        while select.select([self._tun], [], [], max(0.0, deadline - time.monotonic()))[0]:
            yield os.read(self._tun, 65535)
        raise TimeoutError(f"the packet awaited did not come within {_PATIENCE_S} s")

    def address(self, family: Family, number: int = 2) -> str:
        """An address behind the wire; number 1 is the host's own."""
        return f"fd09::{number}" if family is Family.IPV6 else f"10.9.0.{number}"

    def puppet(self, family: Family, port: int, host_port: int) -> Puppet:
        """A TCP end behind the wire, that talks with a port of the host."""
        return Puppet(self, Flow("TCP", Endpoint(self.address(family), port), self.host.endpoint(family, host_port)))


class Puppet:
    """A TCP end that does nothing by itself, and everything that it is asked to do with the right numbers.

    `sends` is the flow of what it sends. It acknowledges what it has received in whatever it sends next. As almost
    everybody's, its segments bear timestamps (RFC 7323), each a later one.
    """

    def __init__(self, wire: Wire, sends: Flow) -> None:
        """Nothing is sent yet."""
        self.sends = sends
        self.sequence = 1000
        self.received = 0
        self._clock = 0
        self._wire = wire

    def send(
        self,
        flags: Flag,
        payload: bytes = b"",
        *,
        sequence_error: int = 0,
        acknowledgment_error: int = 0,
        window: int = 65535,
    ) -> None:
        """Send one segment, whose numbers are wrong by so much; only what has right numbers moves the sequence on."""
        self._clock += 1
        segment = Segment(
            self.sends,
            flags,
            (self.sequence + sequence_error) % 2**32,
            (self.received + acknowledgment_error) % 2**32 if flags & Flag.ACK else 0,
            payload,
            window,
            timestamp=self._clock,
        )
        self._wire.send(segment.packet())
        if sequence_error == 0:
            self.sequence += segment.length

    def expect(self, flags: Flag) -> Segment:
        """The next segment that the host sends here with exactly these flags (PSH apart)."""
        for packet in self._wire.packets():
            segment = Segment.parse(packet)
            if segment and segment.flow == self.sends.reversed() and segment.flags & ~Flag.PSH == flags:
                self.received = (segment.sequence + segment.length) % 2**32
                return segment
        raise AssertionError("the wire ends only by TimeoutError")

    def connect(self) -> None:
        """Open a connection to a listening port of the host."""
        self.send(Flag.SYN)
        self.expect(Flag.SYN | Flag.ACK)
        self.send(Flag.ACK)

    def accept(self) -> None:
        """Complete the connection that the host opens to here."""
        self.expect(Flag.SYN)
        self.send(Flag.SYN | Flag.ACK)
        self.expect(Flag.ACK)


@contextlib.contextmanager
def wired() -> Iterator[Wire]:
    """A new namespace with a tun device, and its far end."""
    with Namespace() as namespace:
        tun = namespace.run(_open_tun, "tun0")
        try:
            ip_batch(
                namespace,
                "link set tun0 addrgenmode none",
                "link set tun0 up",
                "address add 10.9.0.1/24 dev tun0",
                "address add fd09::1/64 dev tun0 nodad",
            )
            host = Host(namespace, "tun0", "10.9.0.1", "fd09::1")
            await_local_route(host)
            yield Wire(host, tun)
        finally:
            os.close(tun)


def _open_tun(name: str) -> int:
    """A tun device without header of its own (Linux, Documentation/networking/tuntap.rst)."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return tun
