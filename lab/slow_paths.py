"""Packets that are slow on their way through the kernel: they wait in a queue, or pass rules without end."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator

from lab.links import Host, Pair, configure, ip_batch
from lab.namespace import Namespace
from lab.scenario import WITHOUT_SOCKETS, Scenario
from lab.segments import Flag
from lab.sockets import datagram, end_of, port_of
from lab.standstills import connected
from lab.states import PSH_ACK, accepted
from lab.truth import Family, Flow, Slow, Truth
from lab.wire import Wire

_SIZE = 1400
_RATE = 5_000
"""Bytes a second."""
_BURST = 1600
"""Bytes: room for one packet, so that the next has to wait until there is room again."""

_TEN_MS = 10_000_000
_HUNDRED_MS = 100_000_000

_RULES = 150
_MORE_RULES = 250
"""Cubed, since each jumps to a chain of as many: 3 and 16 million, some ten nanoseconds each (see `endless_rules`)."""

_VXLAN_PORT = 4789

_NO_REPORTS = """
table ip6 no_reports {
    chain output { type filter hook output priority 0; icmpv6 type mld2-listener-report drop; }
}
"""


@contextlib.contextmanager
def _narrow(host: Host) -> Iterator[int]:
    """A token bucket (tc-tbf(8)) at the host's device; the shortest time (ns) that a second packet waits in it."""
    # What the kernel reports of its own accord, for IPv6 multicast (RFC 3810), would take the room.
    host.namespace.command("nft", "-f", "-", stdin=_NO_REPORTS)
    shape = f"root tbf rate {_RATE * 8} burst {_BURST} limit 20000"
    host.namespace.command("tc", "qdisc", "add", "dev", host.device, *shape.split())
    yield (2 * _SIZE - _BURST) * 1_000_000_000 // _RATE
    host.namespace.command("tc", "qdisc", "del", "dev", host.device, "root")


def _datagrams_in_queue(pair: Pair, family: Family) -> Truth:
    """Of three datagrams the first passes, and the others wait in turn."""
    with datagram(pair.server, family) as reader, datagram(pair.client, family) as sender, _narrow(pair.client) as wait:
        reader.settimeout(5)
        begin = time.monotonic_ns()
        for _ in range(3):
            sender.sendto(bytes(_SIZE), reader.getsockname())
        sending = time.monotonic_ns() - begin
        for _ in range(3):
            reader.recv(_SIZE)
        took = time.monotonic_ns() - begin
        flow = Flow("UDP", end_of(pair.client, family, sender), end_of(pair.server, family, reader))
    slow = Slow(pair.client.namespace.inode, "NETIFTXLAT_QDISC", flow, wait - sending, took)
    return Truth(slow=(slow, slow))


def _segments_in_queue(pair: Pair, family: Family) -> Truth:
    """Of two segments the first passes, and the other waits; TCP knows that it does, and repeats nothing."""
    with connected(pair, family) as (caller, reader, flow):
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with _narrow(pair.client) as wait:
            begin = time.monotonic_ns()
            for _ in range(2):
                caller.sendall(bytes(_SIZE))
            sending = time.monotonic_ns() - begin
            reader.recv(2 * _SIZE, socket.MSG_WAITALL)
            took = time.monotonic_ns() - begin
    netns = pair.client.namespace.inode
    return Truth(
        slow=tuple(Slow(netns, kind, flow, wait - sending, took) for kind in ("NETIFTXLAT_QDISC", "TXKERNEL_SLOW"))
    )


@contextlib.contextmanager
def endless_rules(namespace: Namespace, hook: str, match: str, count: int) -> Iterator[None]:
    """Packets that match pass `count`³ rules. Ends with the assertion that one packet did, by the kernel's counter."""

    def chain(name: str, rule: str) -> str:
        return f"chain {name} {{\n" + f"{rule}\n" * count + "}\n"

    hooked = f"chain hooked {{ type filter hook {hook} priority 0; {match} counter name passed jump outer; }}\n"
    chains = chain("inner", "meta mark 1 accept") + chain("middle", "jump inner") + chain("outer", "jump middle")
    namespace.command("nft", "-f", "-", stdin=f"table inet endless {{\ncounter passed {{}}\n{chains}{hooked}}}\n")
    yield
    listed = json.loads(namespace.command("nft", "-j", "list", "counter", "inet", "endless", "passed"))
    assert [each["counter"]["packets"] for each in listed["nftables"] if "counter" in each] == [1]
    namespace.command("nft", "delete", "table", "inet", "endless")


def _least(rules_ns: int, took_ns: int) -> int:
    """The least that passing rules takes: what they take on a fast machine, and most of all the time on a slow one.

    A tenth of it, were the machine ever so busy with something else.
    """
    return max(rules_ns, took_ns // 10)


def _segment_sent(pair: Pair, family: Family) -> Truth:
    with connected(pair, family) as (caller, reader, flow):
        match = f"tcp dport {flow.destination.port} tcp flags & psh == psh"
        with endless_rules(pair.client.namespace, "output", match, _RULES):
            begin = time.monotonic_ns()
            caller.sendall(b"data")
            reader.recv(_SIZE)
            took = time.monotonic_ns() - begin
    return Truth(slow=(Slow(pair.client.namespace.inode, "TXKERNEL_SLOW", flow, _least(_TEN_MS, took), took),))


def _segment_received(wire: Wire, family: Family) -> Truth:
    """From outside: what comes from a socket of this machine bears the time of its departure (Linux 5.18) instead."""
    with accepted(wire, family) as (reader, puppet):
        match = f"tcp dport {port_of(reader)} tcp flags & psh == psh"
        with endless_rules(wire.host.namespace, "input", match, _RULES):
            begin = time.monotonic_ns()
            puppet.send(PSH_ACK, b"data")
            took = time.monotonic_ns() - begin
        puppet.expect(Flag.ACK)
        reader.recv(_SIZE)
    return Truth(slow=(Slow(wire.host.namespace.inode, "RXKERNEL_SLOW", puppet.sends, _least(_TEN_MS, took), took),))


def _datagram_received(pair: Pair, family: Family) -> Truth:
    with datagram(pair.server, family) as reader, datagram(pair.client, family) as sender:
        reader.settimeout(5)
        flow = Flow("UDP", end_of(pair.client, family, sender), end_of(pair.server, family, reader))
        with endless_rules(pair.server.namespace, "input", f"udp dport {flow.destination.port}", _RULES):
            begin = time.monotonic_ns()
            sender.sendto(b"data", reader.getsockname())
            reader.recv(_SIZE)
            took = time.monotonic_ns() - begin
    return Truth(slow=(Slow(pair.server.namespace.inode, "RXKERNEL_SLOW", flow, _least(_TEN_MS, took), took),))


def _slow_driver(pair: Pair, family: Family) -> Truth:
    """A tunnel's transmit function sends the outer packet, and so has the outer packet's rules to wait for."""
    near, far = tunnel(pair, family)
    with datagram(far, family) as reader, datagram(near, family) as sender:
        reader.settimeout(5)
        flow = Flow("UDP", end_of(near, family, sender), end_of(far, family, reader))
        with tunnel_slow_to(port_of(reader), near, family):
            begin = time.monotonic_ns()
            sender.sendto(b"data", reader.getsockname())
            reader.recv(_SIZE)
            took = time.monotonic_ns() - begin
    return Truth(slow=(Slow(near.namespace.inode, "NETIFTXLAT_XMIT", flow, _least(_HUNDRED_MS, took), took),))


@contextlib.contextmanager
def tunnel_slow_to(port: int, near: Host, family: Family) -> Iterator[None]:
    """Let the transmit function of a tunnel take more than 100 ms, for one packet to a UDP port at its other end."""
    # In the outer packet: UDP's header and VXLAN's, then Ethernet's and IP's of the inner one, and its source port.
    inner_port_at = 8 + 8 + 14 + (40 if family.ip == 6 else 20) + 2
    match = f"udp dport {_VXLAN_PORT} @th,{8 * inner_port_at},16 {port}"
    with endless_rules(near.namespace, "output", match, _MORE_RULES):
        yield


def tunnel(pair: Pair, family: Family) -> tuple[Host, Host]:
    """A VXLAN (RFC 7348) between the two hosts: its two ends."""
    hosts = pair.client, pair.server
    ends = [
        Host(host.namespace, "vxlan0", f"10.7.0.{number}", f"fd07::{number}", f"02:00:00:00:07:0{number}")
        for number, host in enumerate(hosts, start=1)
    ]
    for host, peer, end in zip(hosts, reversed(hosts), ends, strict=True):
        addresses = f"local {host.address(family)} remote {peer.address(family)}"
        vxlan = f"type vxlan id 7 {addresses} dstport {_VXLAN_PORT} dev {host.device}"
        ip_batch(host.namespace, f"link add vxlan0 address {end.mac} {vxlan}")
        # Nothing may be sent before the other end is there: IPv6 has something to say as soon as it is on.
        host.namespace.sysctl("ipv6/conf/vxlan0/disable_ipv6", 1)
        ip_batch(host.namespace, "link set vxlan0 addrgenmode none up")
    for end, other in zip(ends, reversed(ends), strict=True):
        end.namespace.sysctl("ipv6/conf/vxlan0/disable_ipv6", 0)
        configure(end, other)
    return ends[0], ends[1]


ON_PAIR: tuple[Scenario[Pair], ...] = (
    Scenario("datagrams_in_queue", _datagrams_in_queue, WITHOUT_SOCKETS, deferred=True),
    Scenario("segments_in_queue", _segments_in_queue, WITHOUT_SOCKETS, deferred=True),
    Scenario("datagram_received_through_rules", _datagram_received, WITHOUT_SOCKETS),
    Scenario("segment_sent_through_rules", _segment_sent, WITHOUT_SOCKETS),
    Scenario("slow_driver", _slow_driver, WITHOUT_SOCKETS),
)
ON_WIRE: tuple[Scenario[Wire], ...] = (Scenario("segment_received_through_rules", _segment_received, WITHOUT_SOCKETS),)
