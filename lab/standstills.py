"""Data that wait on a socket: a program does not read, its peer does not, or it holds back itself what it writes."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

from lab.links import Pair
from lab.scenario import Scenario
from lab.segments import Flag
from lab.sockets import datagram, end_of, listening, port_of, stream
from lab.states import PUPPET_PORT, SYN_ACK
from lab.truth import Family, Flow, Slow, Truth
from lab.wire import Wire

_STOP_S = 0.15
_PIECE = 100


@dataclass(slots=True)
class _Stop:
    """A time for which nothing moved: it began between two moments and ended between two others."""

    before_begin_ns: int = 0
    after_begin_ns: int = 0
    before_end_ns: int = 0
    after_end_ns: int = 0

    def slow(self, netns: int, kind: str, flow: Flow) -> Slow:
        """That as the latency of a flow."""
        return Slow(
            netns, kind, flow, self.before_end_ns - self.after_begin_ns, self.after_end_ns - self.before_begin_ns
        )


@contextlib.contextmanager
def _stopped() -> Iterator[_Stop]:
    """Begin the stop by what is done in the block; what follows ends it, and has to say when."""
    stop = _Stop(before_begin_ns=time.monotonic_ns())
    yield stop
    stop.after_begin_ns = time.monotonic_ns()
    time.sleep(_STOP_S)
    stop.before_end_ns = time.monotonic_ns()


@contextlib.contextmanager
def connected(pair: Pair, family: Family) -> Iterator[tuple[socket.socket, socket.socket, Flow]]:
    """A connection: the client's socket, the server's, and the flow from the client."""
    with listening(pair.server, family) as listener, stream(pair.client, family) as caller:
        caller.connect((family.socket_address(pair.server.address(family)), port_of(listener)))
        answering, _ = listener.accept()
        with answering:
            flow = Flow("TCP", end_of(pair.client, family, caller), end_of(pair.server, family, listener))
            yield caller, answering, flow
            # Both read the other's end: what is unread when a socket is closed is purged.
            for ended, reader in ((caller, answering), (answering, caller)):
                ended.shutdown(socket.SHUT_WR)
                reader.recv(1)


def _stream_reader_stopped(pair: Pair, family: Family) -> Truth:
    """A program that does not read for a while, and then all, in many pieces: it stood still once."""
    with connected(pair, family) as (caller, reader, flow):
        with _stopped() as stop:
            for _ in range(4):
                caller.sendall(bytes(_PIECE))
        for _ in range(8):
            reader.recv(_PIECE // 2)
            stop.after_end_ns = stop.after_end_ns or time.monotonic_ns()
    netns = pair.server.namespace.inode
    return Truth(slow=(stop.slow(netns, "SOCKETLAT_READSLOW", flow.reversed()),))


def _datagram_reader_stopped(pair: Pair, family: Family) -> Truth:
    with datagram(pair.server, family) as reader, datagram(pair.client, family) as sender:
        reader.connect((family.socket_address(pair.client.address(family)), port_of(sender)))
        with _stopped() as stop:
            for _ in range(3):
                sender.sendto(b"data", (family.socket_address(pair.server.address(family)), port_of(reader)))
        for _ in range(3):
            reader.recv(_PIECE)
            stop.after_end_ns = stop.after_end_ns or time.monotonic_ns()
        flow = Flow("UDP", end_of(pair.client, family, sender), end_of(pair.server, family, reader))
    netns = pair.server.namespace.inode
    return Truth(slow=(stop.slow(netns, "SOCKETLAT_READSLOW", flow.reversed()),))


def _corked(pair: Pair, family: Family) -> Truth:
    """A program that holds back what it writes (TCP_CORK, tcp(7))."""
    with connected(pair, family) as (caller, reader, flow):
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        with _stopped() as stop:
            caller.sendall(bytes(_PIECE))
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        stop.after_end_ns = time.monotonic_ns()
        reader.recv(_PIECE)
    return Truth(slow=(stop.slow(pair.client.namespace.inode, "SOCKETLAT_SENDSLOW", flow),))


def _window_closed(wire: Wire, family: Family) -> Truth:
    """A peer that takes nothing: what is written waits at the writer, until the peer opens its window."""
    with listening(wire.host, family) as listener:
        puppet = wire.puppet(family, PUPPET_PORT, port_of(listener))
        puppet.send(Flag.SYN)
        puppet.expect(SYN_ACK)
        puppet.send(Flag.ACK, window=0)
        writer, _ = listener.accept()
        with writer:
            with _stopped() as stop:
                writer.sendall(bytes(_PIECE))
                writer.sendall(bytes(_PIECE))
            puppet.send(Flag.ACK)
            puppet.expect(Flag.ACK)
            stop.after_end_ns = time.monotonic_ns()
            puppet.send(Flag.ACK)
    netns = wire.host.namespace.inode
    return Truth(slow=(stop.slow(netns, "SOCKETLAT_SENDSLOW", puppet.sends.reversed()),))


ON_PAIR: tuple[Scenario[Pair], ...] = (
    Scenario("stream_reader_stopped", _stream_reader_stopped),
    Scenario("datagram_reader_stopped", _datagram_reader_stopped),
    Scenario("corked", _corked),
)
ON_WIRE: tuple[Scenario[Wire], ...] = (Scenario("window_closed", _window_closed),)
