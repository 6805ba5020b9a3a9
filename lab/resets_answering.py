"""RST segments that the host sends for a segment that its socket cannot take."""

from __future__ import annotations

import socket

from lab.scenario import Scenario
from lab.segments import Flag
from lab.sockets import listening, port_of
from lab.states import FIN_ACK, PSH_ACK, PUPPET_PORT, RST_ACK, SYN_ACK, accepted, connecting, requested
from lab.truth import Count, Drop, Family, Origin, SentReset, TimeWaitSegment, Truth
from lab.wire import Puppet, Wire


def _unsent_acknowledged_in_syn_sent(wire: Wire, family: Family) -> Truth:
    with connecting(wire, family) as (_, puppet):
        puppet.send(SYN_ACK, acknowledgment_error=7)
        puppet.expect(Flag.RST)
    return _processed(wire, puppet, "TCP_SYN_SENT", "TCP_INVALID_ACK_SEQUENCE")


def _data_after_shutdown(wire: Wire, family: Family) -> Truth:
    """Data for a program that has shut its socket for reading and writing, in FIN_WAIT2."""
    with accepted(wire, family) as (connected, puppet):
        connected.shutdown(socket.SHUT_RDWR)
        puppet.expect(FIN_ACK)
        puppet.send(Flag.ACK)
        puppet.send(PSH_ACK, b"late")
        puppet.expect(Flag.RST)
    return _processed(wire, puppet, "TCP_FIN_WAIT2", "TCP_ABORT_ON_DATA")


def _data_after_close(wire: Wire, family: Family) -> Truth:
    """Data for a socket that its program has closed, in FIN_WAIT1."""
    with accepted(wire, family) as (connected, puppet):
        connected.close()
        puppet.expect(FIN_ACK)
        puppet.send(PSH_ACK, b"late", acknowledgment_error=-1)
        puppet.expect(Flag.RST)
    return _processed(wire, puppet, "TCP_FIN_WAIT1", "TCP_ABORT_ON_DATA")


def _stray_ack_to_listener(wire: Wire, family: Family) -> Truth:
    with listening(wire.host, family) as listener:
        puppet = wire.puppet(family, PUPPET_PORT, port_of(listener))
        puppet.send(Flag.ACK)
        puppet.expect(Flag.RST)
    return _processed(wire, puppet, "TCP_LISTEN", "TCP_FLAGS")


def _unsent_acknowledged_in_syn_recv(wire: Wire, family: Family) -> Truth:
    """The kernel gives the segment back to the listener, whose state it is then (tcp_check_req, net/ipv4)."""
    with requested(wire, family) as puppet:
        puppet.send(Flag.ACK, acknowledgment_error=7)
        puppet.expect(Flag.RST)
    return _processed(wire, puppet, "TCP_LISTEN", "TCP_FLAGS")


def _syn_in_syn_recv(wire: Wire, family: Family) -> Truth:
    """A second SYN, with the number after the first's: it asks for a connection that is already being made."""
    with requested(wire, family) as puppet:
        puppet.send(Flag.SYN)
        puppet.expect(RST_ACK)
    return _processed(wire, puppet, "TCP_LISTEN", "INVALID_SYN", drop_reason="NOT_SPECIFIED")


def _data_in_fin_wait2_without_program(wire: Wire, family: Family) -> Truth:
    """After close(), the kernel keeps FIN_WAIT2 in the small socket of TIME_WAIT: the state that the event has."""
    with accepted(wire, family) as (connected, puppet):
        connected.close()
        puppet.expect(FIN_ACK)
        puppet.send(Flag.ACK)
        puppet.send(PSH_ACK, b"late")
        puppet.expect(Flag.RST)
    netns = wire.host.namespace.inode
    return Truth(
        sent_resets=(
            SentReset(netns, Origin.PROCESS, puppet.sends.reversed(), "TCP_TIMEWAIT_SOCKET", "TCP_TIME_WAIT"),
        ),
        time_wait=(TimeWaitSegment(netns, puppet.sends, PSH_ACK, "TCP_FIN_WAIT2"),),
        counts=(Count(netns, "Tcp.OutRsts"),),
    )


def _processed(wire: Wire, puppet: Puppet, state: str, reason: str, drop_reason: str | None = None) -> Truth:
    """The kernel mostly names why it drops the segment as it names why it resets."""
    netns = wire.host.namespace.inode
    return Truth(
        sent_resets=(SentReset(netns, Origin.PROCESS, puppet.sends.reversed(), reason, state),),
        drops=(Drop(netns, puppet.sends, drop_reason or reason),),
        counts=(Count(netns, "Tcp.OutRsts"),),
    )


ON_WIRE: tuple[Scenario[Wire], ...] = (
    Scenario("process_in_SYN_SENT", _unsent_acknowledged_in_syn_sent),
    Scenario("process_in_FIN_WAIT1", _data_after_close),
    Scenario("process_in_FIN_WAIT2", _data_after_shutdown),
    Scenario("process_in_FIN_WAIT2_without_program", _data_in_fin_wait2_without_program),
    Scenario("process_in_LISTEN", _stray_ack_to_listener),
    Scenario("process_in_SYN_RECV_ack", _unsent_acknowledged_in_syn_recv),
    Scenario("process_in_SYN_RECV_syn", _syn_in_syn_recv),
)
