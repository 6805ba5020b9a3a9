"""Segments that the host sends again, since nobody acknowledges them."""

from __future__ import annotations

import socket

from lab.scenario import Scenario
from lab.segments import Flag
from lab.states import FIN_ACK, SYN_ACK, accepted, connecting, requested
from lab.truth import Family, Retransmission, Truth
from lab.wire import Puppet, Wire


def _syn(wire: Wire, family: Family) -> Truth:
    with connecting(wire, family) as (_, puppet):
        puppet.expect(Flag.SYN)
    return _again(wire, puppet, "SYN", "TCP_SYN_SENT")


def _syn_ack(wire: Wire, family: Family) -> Truth:
    with requested(wire, family) as puppet:
        puppet.expect(SYN_ACK)
    return _again(wire, puppet, "SYN-ACK", "TCP_NEW_SYN_RECV")


def _data(wire: Wire, family: Family) -> Truth:
    with accepted(wire, family) as (connected, puppet):
        connected.send(b"data")
        puppet.expect(Flag.ACK)
        puppet.expect(Flag.ACK)
        puppet.send(Flag.ACK)
        connected.shutdown(socket.SHUT_WR)
        puppet.expect(FIN_ACK)
        _finish(puppet)
    return _again(wire, puppet, "DATA", "TCP_ESTABLISHED")


def _fin(wire: Wire, family: Family) -> Truth:
    with accepted(wire, family) as (connected, puppet):
        connected.shutdown(socket.SHUT_WR)
        puppet.expect(FIN_ACK)
        puppet.expect(FIN_ACK)
        _finish(puppet)
    return _again(wire, puppet, "FIN", "TCP_FIN_WAIT1")


def _finish(puppet: Puppet) -> None:
    """Acknowledge everything and close, so that nothing more is sent again."""
    puppet.send(FIN_ACK)
    puppet.expect(Flag.ACK)


def _again(wire: Wire, puppet: Puppet, part: str, state: str) -> Truth:
    """At least once: how often is the speed of the machine's."""
    retransmission = Retransmission(wire.host.namespace.inode, puppet.sends.reversed(), part, state)
    return Truth(retransmissions=(retransmission,))


ON_WIRE: tuple[Scenario[Wire], ...] = (
    Scenario("retransmitted_SYN", _syn, deferred=True),
    Scenario("retransmitted_SYN_ACK", _syn_ack, deferred=True),
    Scenario("retransmitted_data", _data, deferred=True),
    Scenario("retransmitted_FIN", _fin, deferred=True),
)
