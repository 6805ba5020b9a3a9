"""RST segments that the host sends where it has no socket, or because a program or a timer ended the connection."""

from __future__ import annotations

import contextlib
import ctypes
import socket
from collections.abc import Callable

from lab.links import Pair
from lab.scenario import Scenario
from lab.segments import Flag
from lab.sockets import close_with_reset, datagram, handed_to_process, listening, port_of, stream
from lab.states import FIN_ACK, PSH_ACK, PUPPET_PORT, RST_ACK, accepted
from lab.truth import Count, Drop, Family, Flow, Origin, ReceivedReset, SentReset, Truth
from lab.waiting import eventually
from lab.wire import Puppet, Wire

_AF_UNSPEC_ADDRESS = bytes(16)


def _closed_port(pair: Pair, family: Family) -> Truth:
    """Connect to a port that no one listens at: both sides of the refusal."""
    with datagram(pair.server, family) as reserved, stream(pair.client, family) as caller:
        port = port_of(reserved)
        server = pair.server.endpoint(family, port)
        with contextlib.suppress(ConnectionRefusedError):
            caller.connect((family.socket_address(server.address), port))
        syn = Flow("TCP", pair.client.endpoint(family, port_of(caller)), server)
    client_netns, server_netns = pair.client.namespace.inode, pair.server.namespace.inode
    return Truth(
        sent_resets=(SentReset(server_netns, Origin.NO_SOCKET, syn.reversed(), "NO_SOCKET"),),
        received_resets=(ReceivedReset(client_netns, syn.reversed(), "TCP_SYN_SENT"),),
        drops=(Drop(server_netns, syn, "NO_SOCKET"),),
        counts=(Count(server_netns, "Tcp.OutRsts"), Count(client_netns, "Tcp.AttemptFails")),
    )


def _reset_by_peer(pair: Pair, family: Family) -> Truth:
    """The server closes with SO_LINGER 0: both sides of the reset, which both count it (RFC 4022, tcpEstabResets)."""
    with listening(pair.server, family) as listener, stream(pair.client, family) as caller:
        caller.connect((family.socket_address(pair.server.address(family)), port_of(listener)))
        connected, _ = listener.accept()
        close_with_reset(connected)
        eventually(lambda: caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        rst = Flow(
            "TCP", pair.server.endpoint(family, port_of(listener)), pair.client.endpoint(family, port_of(caller))
        )
    client_netns, server_netns = pair.client.namespace.inode, pair.server.namespace.inode
    return Truth(
        sent_resets=(SentReset(server_netns, Origin.ACTIVE, rst, "TCP_STATE", "TCP_ESTABLISHED"),),
        received_resets=(ReceivedReset(client_netns, rst, "TCP_ESTABLISHED"),),
        counts=(
            Count(server_netns, "Tcp.OutRsts"),
            Count(server_netns, "Tcp.EstabResets"),
            Count(client_netns, "Tcp.EstabResets"),
        ),
    )


def _no_socket(flags: Flag) -> Callable[[Wire, Family], Truth]:
    def play(wire: Wire, family: Family) -> Truth:
        with datagram(wire.host, family) as reserved:
            puppet = wire.puppet(family, PUPPET_PORT, port_of(reserved))
            puppet.send(flags)
            puppet.expect(Flag.RST if flags & Flag.ACK else RST_ACK)
        netns = wire.host.namespace.inode
        return Truth(
            sent_resets=(SentReset(netns, Origin.NO_SOCKET, puppet.sends.reversed(), "NO_SOCKET"),),
            drops=(Drop(netns, puppet.sends, "NO_SOCKET"),),
            counts=(Count(netns, "Tcp.OutRsts"),),
        )

    return play


def _close_with_unread_data(wire: Wire, family: Family) -> Truth:
    with accepted(wire, family) as (connected, puppet):
        puppet.send(PSH_ACK, b"unread")
        connected.close()
        puppet.expect(RST_ACK)
    return _active(wire, puppet, "TCP_ESTABLISHED", "TCP_ABORT_ON_CLOSE", "TcpExt.TCPAbortOnClose")


def _death_with_unread_data(wire: Wire, family: Family) -> Truth:
    """A process is killed while data wait on its socket: the kernel closes it, in the context of the dying."""
    with accepted(wire, family) as (connected, puppet):
        with handed_to_process(connected) as holder:
            puppet.send(PSH_ACK, b"unread")
            holder.kill()
        puppet.expect(RST_ACK)
    return _active(wire, puppet, "TCP_ESTABLISHED", "TCP_ABORT_ON_CLOSE", "TcpExt.TCPAbortOnClose")


def _linger_zero(state: str) -> Callable[[Wire, Family], Truth]:
    def play(wire: Wire, family: Family) -> Truth:
        with accepted(wire, family) as (connected, puppet):
            if state == "TCP_CLOSE_WAIT":
                puppet.send(FIN_ACK)
                puppet.expect(Flag.ACK)
            close_with_reset(connected)
            puppet.expect(RST_ACK)
        return _active(wire, puppet, state, "TCP_STATE", "TcpExt.TCPAbortOnData")

    return play


def _linger_after_fin(wire: Wire, family: Family) -> Truth:
    """TCP_LINGER2 below zero: no waiting in FIN_WAIT2 after close (tcp(7))."""
    with accepted(wire, family) as (connected, puppet):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, -1)
        connected.shutdown(socket.SHUT_WR)
        puppet.expect(FIN_ACK)
        puppet.send(Flag.ACK)
        connected.close()
        puppet.expect(RST_ACK)
    return _active(wire, puppet, "TCP_FIN_WAIT2", "TCP_ABORT_ON_LINGER", "TcpExt.TCPAbortOnLinger")


def _destroyed(wire: Wire, family: Family) -> Truth:
    """An administrator kills the connection (ss -K, SOCK_DESTROY)."""
    with accepted(wire, family) as (_, puppet):
        wire.host.namespace.command("ss", "-K", "-tn", "sport", "=", f"{puppet.sends.destination.port}")
        puppet.expect(RST_ACK)
    return _active(wire, puppet, "TCP_ESTABLISHED", "TCP_STATE")


def _disconnected(wire: Wire, family: Family) -> Truth:
    """connect() to AF_UNSPEC breaks a connection off (connect(2))."""
    with accepted(wire, family) as (connected, puppet):
        connected.send(b"never acknowledged")
        ctypes.CDLL(None).connect(connected.fileno(), _AF_UNSPEC_ADDRESS, len(_AF_UNSPEC_ADDRESS))
        puppet.expect(RST_ACK)
    return _active(wire, puppet, "TCP_ESTABLISHED", "TCP_STATE")


def _listener_closed(wire: Wire, family: Family) -> Truth:
    """A program closes its listener with a connection that it has not accepted."""
    with listening(wire.host, family) as listener:
        puppet = wire.puppet(family, PUPPET_PORT, port_of(listener))
        puppet.connect()
        listener.close()
        puppet.expect(RST_ACK)
    return _active(wire, puppet, "TCP_ESTABLISHED", "TCP_STATE")


def _keepalive(wire: Wire, family: Family) -> Truth:
    with accepted(wire, family) as (connected, puppet):
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
            connected.setsockopt(socket.IPPROTO_TCP, option, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        puppet.expect(RST_ACK)
    return _active(wire, puppet, "TCP_ESTABLISHED", "TCP_KEEPALIVE_TIMEOUT", "TcpExt.TCPAbortOnTimeout")


def _active(wire: Wire, puppet: Puppet, state: str, reason: str, counter: str | None = None) -> Truth:
    netns = wire.host.namespace.inode
    counts = [Count(netns, "Tcp.OutRsts")]
    if counter:
        counts.append(Count(netns, counter))
    return Truth(
        sent_resets=(SentReset(netns, Origin.ACTIVE, puppet.sends.reversed(), reason, state),), counts=tuple(counts)
    )


ON_PAIR: tuple[Scenario[Pair], ...] = (
    Scenario("closed_port", _closed_port),
    Scenario("reset_by_peer", _reset_by_peer),
)

ON_WIRE: tuple[Scenario[Wire], ...] = (
    Scenario("nosock_SYN", _no_socket(Flag.SYN)),
    Scenario("nosock_ACK", _no_socket(Flag.ACK)),
    Scenario("active_unread_data", _close_with_unread_data),
    Scenario("active_death_with_unread_data", _death_with_unread_data, deferred=True),
    Scenario("active_linger_0", _linger_zero("TCP_ESTABLISHED")),
    Scenario("active_linger_0_in_CLOSE_WAIT", _linger_zero("TCP_CLOSE_WAIT")),
    Scenario("active_linger2_in_FIN_WAIT2", _linger_after_fin),
    Scenario("active_destroyed", _destroyed, deferred=True),
    Scenario("active_disconnect", _disconnected),
    Scenario("active_listener_closed", _listener_closed),
    Scenario("active_keepalive", _keepalive, deferred=True),
)
