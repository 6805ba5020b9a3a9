"""What a scenario did: the facts that a perfect observer of the namespaces would report."""

from __future__ import annotations

import enum
import socket
from dataclasses import dataclass


class Family(enum.Enum):
    """How the two ends of a scenario speak."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"
    MAPPED = "IPv4 on IPv6 sockets"
    """IPv4 packets, but sockets of AF_INET6, which know the addresses as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2)."""

    @property
    def ip(self) -> int:
        """Version of the packets' IP header."""
        return 6 if self is Family.IPV6 else 4

    @property
    def sockets(self) -> socket.AddressFamily:
        """Address family of the sockets."""
        return socket.AF_INET if self is Family.IPV4 else socket.AF_INET6

    def socket_address(self, address: str) -> str:
        """The address of a packet as a socket spells it."""
        return f"::ffff:{address}" if self is Family.MAPPED else address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a flow; `port` is 0 where the protocol has none."""

    address: str
    port: int = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """Who sends to whom, as the headers of a packet say it.

    `protocol` is a key of `segments.PROTOCOLS`, or the number of a protocol that the kernel does not know.
    """

    protocol: str
    source: Endpoint
    destination: Endpoint

    def reversed(self) -> Flow:
        """The flow of an answer."""
        return Flow(self.protocol, self.destination, self.source)


class Origin(enum.Enum):
    """What made the kernel send a RST; the values end the event's type, TCPRESET_..."""

    NO_SOCKET = "NOSOCK"
    ACTIVE = "ACTIVE"
    PROCESS = "PROCESS"


@dataclass(frozen=True, slots=True)
class SentReset:
    """A RST that the namespace sent: `segment` is the RST's own flow, so that its source is the local end.

    `state` is that of the socket before the reset, as the kernel spells it; empty where no socket was. `reason` is the
    name in the kernel's enum sk_rst_reason (since Linux 6.10).
    """

    netns: int
    origin: Origin
    segment: Flow
    reason: str
    state: str = ""


@dataclass(frozen=True, slots=True)
class ReceivedReset:
    """A RST that reached a socket of the namespace: `segment` is the RST's own flow; its destination is the local end.

    `state` is that of the socket before the reset.
    """

    netns: int
    segment: Flow
    state: str


@dataclass(frozen=True, slots=True)
class Drop:
    """`count` packets of one flow that the namespace dropped.

    `reason` is the name in the kernel's enum skb_drop_reason, as Linux 6.18 gives it; NOT_SPECIFIED is one too.
    `reset` says that the packet is a RST.
    """

    netns: int
    flow: Flow
    reason: str
    count: int = 1
    reset: bool = False


@dataclass(frozen=True, slots=True)
class TimeWaitSegment:
    """A segment that reached a TIME_WAIT socket of the namespace and ended there. `flags` is the byte of the header.

    The kernel keeps FIN_WAIT2 in such a socket too, where the program is gone: that is the `state` then.
    """

    netns: int
    segment: Flow
    flags: int
    state: str = "TCP_TIME_WAIT"


@dataclass(frozen=True, slots=True)
class Slow:
    """A latency in the namespace, within these bounds by the test's own clock.

    `type` is the type of its event; `flow` begins at the end that the latency is of.
    """

    netns: int
    type: str
    flow: Flow
    least_ns: int
    most_ns: int


@dataclass(frozen=True, slots=True)
class Retransmission:
    """A segment that the namespace sent again since a timer ran out; its source is the local end.

    `part` of the connection is SYN, SYN-ACK, DATA or FIN; `state` is that of the socket.
    """

    netns: int
    segment: Flow
    part: str
    state: str


@dataclass(frozen=True, slots=True)
class Count:
    """How far the scenario moved one of the namespace's counters, named as /proc/net/{snmp,netstat,snmp6} name it."""

    netns: int
    counter: str
    by: int = 1


@dataclass(frozen=True, slots=True)
class Truth:
    """All that a scenario made happen, each kind of fact in the order of its happening.

    `counts` are the counters that show the fault, not all that moved; counts of the same counter add up.
    """

    sent_resets: tuple[SentReset, ...] = ()
    received_resets: tuple[ReceivedReset, ...] = ()
    drops: tuple[Drop, ...] = ()
    time_wait: tuple[TimeWaitSegment, ...] = ()
    retransmissions: tuple[Retransmission, ...] = ()
    slow: tuple[Slow, ...] = ()
    counts: tuple[Count, ...] = ()
