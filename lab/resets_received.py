"""RST segments that reach a socket of the host, in every state that a socket can be in."""

from __future__ import annotations

from functools import partial

from lab.scenario import Scenario
from lab.segments import Flag
from lab.states import FIN_ACK, RST_ACK, SYNCHRONIZED, accepted, connecting, led_to, requested
from lab.truth import Count, Drop, Family, ReceivedReset, TimeWaitSegment, Truth
from lab.wire import Puppet, Wire


def _in_syn_sent(wire: Wire, family: Family) -> Truth:
    with connecting(wire, family) as (_, puppet):
        puppet.send(RST_ACK)
    return _received(wire, puppet, "TCP_SYN_SENT", "Tcp.AttemptFails")


def _in_syn_recv(wire: Wire, family: Family) -> Truth:
    with requested(wire, family) as puppet:
        puppet.send(Flag.RST)
    return _received(wire, puppet, "TCP_SYN_RECV", "TcpExt.EmbryonicRsts")


def _in_synchronized(state: str, wire: Wire, family: Family) -> Truth:
    with led_to(state, wire, family) as puppet:
        puppet.send(Flag.RST)
    counter = "Tcp.EstabResets" if state in {"TCP_ESTABLISHED", "TCP_CLOSE_WAIT"} else None
    return _received(wire, puppet, state, counter)


def _in_time_wait(wire: Wire, family: Family) -> Truth:
    with led_to("TCP_TIME_WAIT", wire, family) as puppet:
        puppet.send(Flag.RST)
    netns = wire.host.namespace.inode
    return Truth(
        received_resets=(ReceivedReset(netns, puppet.sends, "TCP_TIME_WAIT"),),
        time_wait=(TimeWaitSegment(netns, puppet.sends, Flag.RST),),
    )


def _in_fin_wait2_without_program(wire: Wire, family: Family) -> Truth:
    """After close(), the kernel keeps FIN_WAIT2 in the small socket of TIME_WAIT (tcp_time_wait, net/ipv4/tcp.c)."""
    with accepted(wire, family) as (connected, puppet):
        connected.close()
        puppet.expect(FIN_ACK)
        puppet.send(Flag.ACK)
        puppet.send(Flag.RST)
    netns = wire.host.namespace.inode
    return Truth(
        received_resets=(ReceivedReset(netns, puppet.sends, "TCP_FIN_WAIT2"),),
        time_wait=(TimeWaitSegment(netns, puppet.sends, Flag.RST, "TCP_FIN_WAIT2"),),
    )


def _outside_of_window(wire: Wire, family: Family) -> Truth:
    """A RST with a number that is in the window but not the next only makes the kernel ask back (RFC 5961, 3.2)."""
    with accepted(wire, family) as (_, puppet):
        puppet.send(Flag.RST, sequence_error=10)
        puppet.expect(Flag.ACK)
    netns = wire.host.namespace.inode
    return Truth(
        drops=(Drop(netns, puppet.sends, "TCP_RESET", reset=True),),
        counts=(Count(netns, "TcpExt.TCPChallengeACK"), Count(netns, "Tcp.EstabResets", 0)),
    )


def _outside_in_time_wait(wire: Wire, family: Family) -> Truth:
    """A RST whose number is not the next ends in TIME_WAIT as any other segment, and changes nothing."""
    with led_to("TCP_TIME_WAIT", wire, family) as puppet:
        puppet.send(Flag.RST, sequence_error=-1)
    return Truth(time_wait=(TimeWaitSegment(wire.host.namespace.inode, puppet.sends, Flag.RST),))


def _received(wire: Wire, puppet: Puppet, state: str, counter: str | None) -> Truth:
    netns = wire.host.namespace.inode
    return Truth(
        received_resets=(ReceivedReset(netns, puppet.sends, state),),
        counts=(Count(netns, counter),) if counter else (),
    )


ON_WIRE: tuple[Scenario[Wire], ...] = (
    Scenario("rst_in_SYN_SENT", _in_syn_sent),
    Scenario("rst_in_SYN_RECV", _in_syn_recv),
    *(
        Scenario(f"rst_in_{state.removeprefix('TCP_')}", partial(_in_synchronized, state))
        for state in SYNCHRONIZED
        if state != "TCP_TIME_WAIT"
    ),
    Scenario("rst_in_TIME_WAIT", _in_time_wait),
    Scenario("rst_in_FIN_WAIT2_without_program", _in_fin_wait2_without_program),
    Scenario("rst_with_wrong_number", _outside_of_window),
    Scenario("rst_with_wrong_number_in_TIME_WAIT", _outside_in_time_wait),
)
