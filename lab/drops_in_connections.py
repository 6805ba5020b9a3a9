"""Segments that a connection refuses, or a listening socket: next of kin to those of healthy TCP, yet lost."""

from __future__ import annotations

from collections.abc import Callable

from lab.healthy_tcp import deferring
from lab.scenario import Scenario
from lab.segments import Flag
from lab.sockets import port_of
from lab.states import FIN_ACK, PSH_ACK, PUPPET_PORT, RST_ACK, SYN_ACK, led_to, with_closed_window
from lab.truth import Count, Drop, Family, Truth
from lab.wire import Puppet, Wire


def _refused_in(
    state: str, reason: str, send: Callable[[Puppet], None], *, reset: bool = False
) -> Callable[[Wire, Family], Truth]:
    def play(wire: Wire, family: Family) -> Truth:
        with led_to(state, wire, family) as puppet:
            send(puppet)
        return Truth(drops=(Drop(wire.host.namespace.inode, puppet.sends, reason, reset=reset),))

    return play


def _data_for_closed_window(wire: Wire, family: Family) -> Truth:
    """More than the byte that a window may be probed with: from the next on, or from the one before."""
    numbers = (0, -1)
    with with_closed_window(wire, family) as puppet:
        for error in numbers:
            puppet.send(PSH_ACK, b"data", sequence_error=error)
            puppet.sequence -= 0 if error else len(b"data")
            puppet.expect(Flag.ACK)
    return Truth(drops=(Drop(wire.host.namespace.inode, puppet.sends, "TCP_INVALID_END_SEQUENCE", len(numbers)),))


def _syn_again_to_deferring(wire: Wire, family: Family) -> Truth:
    """The SYN-ACK has not come to the client, which asks again: what the first SYN said is known."""
    with deferring(wire.host, family) as listener:
        puppet = wire.puppet(family, PUPPET_PORT, port_of(listener))
        puppet.send(Flag.SYN)
        puppet.expect(SYN_ACK)
        puppet.send(Flag.SYN, sequence_error=-1)
    return Truth(drops=(Drop(wire.host.namespace.inode, puppet.sends, "NOT_SPECIFIED"),))


def _no_flags_to_deferring(wire: Wire, family: Family) -> Truth:
    """As the ACK that is waited for, but that it acknowledges nothing."""
    with deferring(wire.host, family) as listener:
        puppet = wire.puppet(family, PUPPET_PORT, port_of(listener))
        puppet.send(Flag.SYN)
        puppet.expect(SYN_ACK)
        puppet.send(Flag(0))
    return Truth(drops=(Drop(wire.host.namespace.inode, puppet.sends, "NOT_SPECIFIED"),))


def _ack_to_deferring_with_full_queue(wire: Wire, family: Family) -> Truth:
    """The time to wait for data is over, and the accept queue full: now the ACK of the handshake is lost."""
    backlog = 1
    with deferring(wire.host, family, backlog, seconds=1) as listener:
        late, *others = (wire.puppet(family, PUPPET_PORT + n, port_of(listener)) for n in range(backlog + 2))
        late.connect()
        for puppet in others:
            puppet.connect()
            puppet.send(PSH_ACK, b"request")
        late.expect(SYN_ACK)
        late.send(Flag.ACK)
        for _ in others:
            with listener.accept()[0] as server:
                assert server.recv(100) == b"request"
    netns = wire.host.namespace.inode
    return Truth(
        drops=(Drop(netns, late.sends, "TCP_LISTEN_OVERFLOW"),),
        counts=(Count(netns, "TcpExt.ListenOverflows"), Count(netns, "TcpExt.TCPDeferAcceptDrop", backlog + 2)),
    )


_OLD = "TCP_OLD_SEQUENCE"

ON_WIRE: tuple[Scenario[Wire], ...] = (
    # As long as a keepalive, and with its number.
    Scenario(
        "old_RST_ACK", _refused_in("TCP_ESTABLISHED", _OLD, lambda p: p.send(RST_ACK, sequence_error=-1), reset=True)
    ),
    Scenario(
        "old_RST", _refused_in("TCP_ESTABLISHED", _OLD, lambda p: p.send(Flag.RST, sequence_error=-1), reset=True)
    ),
    Scenario("old_ACK", _refused_in("TCP_ESTABLISHED", _OLD, lambda p: p.send(Flag.ACK, sequence_error=-2))),
    Scenario("old_data", _refused_in("TCP_ESTABLISHED", _OLD, lambda p: p.send(PSH_ACK, b"old", sequence_error=-9))),
    Scenario("data_for_closed_window", _data_for_closed_window),
    # The peer has said that it will send no more.
    Scenario("data_after_FIN", _refused_in("TCP_CLOSE_WAIT", "NOT_SPECIFIED", lambda p: p.send(PSH_ACK, b"late"))),
    Scenario("FIN_after_FIN", _refused_in("TCP_CLOSE_WAIT", "NOT_SPECIFIED", lambda p: p.send(FIN_ACK))),
    Scenario("SYN_again_to_deferring", _syn_again_to_deferring),
    Scenario("no_flags_to_deferring", _no_flags_to_deferring),
    Scenario("ACK_to_deferring_with_full_queue", _ack_to_deferring_with_full_queue, deferred=True),
)
