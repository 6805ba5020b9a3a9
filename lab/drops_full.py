"""Packets dropped because something is full, or a socket refuses them."""

from __future__ import annotations

import contextlib
import ctypes
import json
import socket
import struct

from lab.counters import counters
from lab.links import Pair
from lab.scenario import Scenario
from lab.segments import Flag
from lab.sockets import datagram, end_of, listening, port_of
from lab.states import PUPPET_PORT, SYN_ACK
from lab.truth import Count, Drop, Endpoint, Family, Flow, Truth
from lab.waiting import eventually
from lab.wire import Wire

_SENT = 20
_SMALLEST_BUFFER = 1
"""The kernel makes of it the least that it allows (SO_RCVBUF, socket(7))."""


def _udp_receive_buffer(pair: Pair, family: Family) -> Truth:
    """A program that does not read: what is over its buffer is lost."""
    namespace = pair.server.namespace
    counter = "Udp6RcvbufErrors" if family.ip == 6 else "Udp.RcvbufErrors"
    received = 0

    def lost_when_all_have_come() -> int:
        nonlocal received
        received += _receive_all(reader)
        lost = counters(namespace).get(counter, 0)
        return lost if received + lost == _SENT else 0

    with datagram(pair.server, family) as reader, datagram(pair.client, family) as sender:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALLEST_BUFFER)
        flow = Flow("UDP", end_of(pair.client, family, sender), end_of(pair.server, family, reader))
        for _ in range(_SENT):
            sender.sendto(bytes(100), reader.getsockname())
        eventually(lambda: counters(namespace).get(counter))
        lost = eventually(lost_when_all_have_come)
    return Truth(
        drops=(Drop(namespace.inode, flow, "SOCKET_RCVBUFF", lost),), counts=(Count(namespace.inode, counter, lost),)
    )


def _socket_filter(pair: Pair, family: Family) -> Truth:
    """A program's own filter takes nothing (SO_ATTACH_FILTER, socket(7))."""
    namespace = pair.server.namespace
    with datagram(pair.server, family) as reader, datagram(pair.client, family) as sender:
        _attach_filter_that_takes_nothing(reader)
        flow = Flow("UDP", end_of(pair.client, family, sender), end_of(pair.server, family, reader))
        sender.sendto(b"refused", reader.getsockname())
        # A busy CPU has it delivered later, by another thread: not before it has come is the socket closed.
        eventually(lambda: counters(namespace).get("Udp6InErrors" if family.ip == 6 else "Udp.InErrors"))
    return Truth(drops=(Drop(namespace.inode, flow, "SOCKET_FILTER"),))


def _handshake_for_full_queue(wire: Wire, family: Family) -> Truth:
    """The last ACK of a handshake, whose place in the accept queue another has taken since its SYN."""
    backlog = 2
    with listening(wire.host, family, backlog) as listener:
        puppets = [wire.puppet(family, PUPPET_PORT + n, port_of(listener)) for n in range(backlog + 2)]
        for puppet in puppets[:backlog]:
            puppet.connect()
        for puppet in puppets[backlog:]:
            puppet.send(Flag.SYN)
            puppet.expect(SYN_ACK)
        for puppet in puppets[backlog:]:
            puppet.send(Flag.ACK)
        for _ in range(backlog + 1):
            listener.accept()[0].close()
    netns = wire.host.namespace.inode
    return Truth(drops=(Drop(netns, puppets[-1].sends, "TCP_LISTEN_OVERFLOW"),), counts=_listen_overflow(netns))


def _syn_for_full_queue(wire: Wire, family: Family) -> Truth:
    """A SYN for a queue that is full: the kernel counts it and frees it without a word (tcp_conn_request)."""
    with listening(wire.host, family, backlog=0) as listener:
        wire.puppet(family, PUPPET_PORT, port_of(listener)).connect()
        wire.puppet(family, PUPPET_PORT + 1, port_of(listener)).send(Flag.SYN)
        listener.accept()[0].close()
    return Truth(counts=_listen_overflow(wire.host.namespace.inode))


def _listen_overflow(netns: int) -> tuple[Count, ...]:
    return Count(netns, "TcpExt.ListenOverflows"), Count(netns, "TcpExt.ListenDrops")


def _device_queue(wire: Wire, family: Family) -> Truth:
    """The far end of a tun device does not read: its ring is full."""
    held = 4
    wire.host.namespace.command("ip", "link", "set", wire.host.device, "txqueuelen", str(held))
    with datagram(wire.host, family) as sender:
        far = Endpoint(wire.address(family), PUPPET_PORT)
        for _ in range(_SENT):
            sender.sendto(b"data", (family.socket_address(far.address), far.port))
        flow = Flow("UDP", end_of(wire.host, family, sender), far)
    return Truth(drops=(Drop(wire.host.namespace.inode, flow, "FULL_RING", _SENT - held),))


def _queueing_discipline(pair: Pair, family: Family) -> Truth:
    """A token bucket too small for a burst (tc-tbf(8))."""
    client = pair.client
    client.namespace.command(*f"tc qdisc add dev {client.device} root tbf rate 1mbit burst 1600 limit 3000".split())
    with datagram(pair.server, family) as reader, datagram(client, family) as sender:
        flow = Flow("UDP", end_of(client, family, sender), end_of(pair.server, family, reader))
        for _ in range(_SENT):
            sender.sendto(bytes(1000), reader.getsockname())
        lost = eventually(lambda: _lost_when_idle(pair))
        assert _receive_all(reader) == _SENT - lost
    return Truth(drops=(Drop(client.namespace.inode, flow, "QDISC_DROP", lost),))


def _lost_when_idle(pair: Pair) -> int:
    """Packets that the discipline has dropped, once none waits in it."""
    shown = pair.client.namespace.command("tc", "-s", "-j", "qdisc", "show", "dev", pair.client.device)
    state = json.loads(shown)[0]
    return 0 if state["qlen"] else int(state["drops"])


def _receive_all(reader: socket.socket) -> int:
    received = 0
    with contextlib.suppress(BlockingIOError):
        while reader.recv(2048):
            received += 1
    return received


def _attach_filter_that_takes_nothing(reader: socket.socket) -> None:
    """One instruction of classic BPF: return 0 (Documentation/networking/filter.rst)."""
    so_attach_filter, bpf_ret_k = 26, 0x06
    program = ctypes.create_string_buffer(struct.pack("HBBI", bpf_ret_k, 0, 0, 0))
    reader.setsockopt(socket.SOL_SOCKET, so_attach_filter, struct.pack("HP", 1, ctypes.addressof(program)))


SOCKETS_ON_PAIR: tuple[Scenario[Pair], ...] = (
    Scenario("udp_receive_buffer_full", _udp_receive_buffer),
    Scenario("socket_filter", _socket_filter),
)
"""Drops that a socket makes: on a loopback too."""

ON_PAIR: tuple[Scenario[Pair], ...] = (
    *SOCKETS_ON_PAIR,
    Scenario("queueing_discipline_full", _queueing_discipline),
)
ON_WIRE: tuple[Scenario[Wire], ...] = (
    Scenario("accept_queue_full_for_ACK", _handshake_for_full_queue),
    Scenario("accept_queue_full_for_SYN", _syn_for_full_queue),
    Scenario("device_queue_full", _device_queue),
)
