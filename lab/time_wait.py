"""Segments that reach a TIME_WAIT socket of the host and end there."""

from __future__ import annotations

from collections.abc import Callable

from lab.scenario import Scenario
from lab.segments import Flag
from lab.states import FIN_ACK, PSH_ACK, accepted, led_to
from lab.truth import Count, Family, TimeWaitSegment, Truth
from lab.wire import Puppet, Wire


def _reached_by(flags: Flag, send: Callable[[Puppet], None]) -> Callable[[Wire, Family], Truth]:
    def play(wire: Wire, family: Family) -> Truth:
        with led_to("TCP_TIME_WAIT", wire, family) as puppet:
            send(puppet)
        return Truth(time_wait=(TimeWaitSegment(wire.host.namespace.inode, puppet.sends, flags),))

    return play


def _repeat_fin(puppet: Puppet) -> None:
    puppet.send(FIN_ACK, sequence_error=-1)
    puppet.expect(Flag.ACK)


def _send_data(puppet: Puppet) -> None:
    puppet.send(PSH_ACK, b"late")
    puppet.expect(Flag.ACK)


def _ordinary_close(wire: Wire, family: Family) -> Truth:
    """No fault: the program closes, then the peer. Yet the kernel frees the last FIN as it frees what it drops."""
    with accepted(wire, family) as (connected, puppet):
        connected.close()
        puppet.expect(FIN_ACK)
        puppet.send(Flag.ACK)
        puppet.send(FIN_ACK)
        puppet.expect(Flag.ACK)
    return Truth(counts=(Count(wire.host.namespace.inode, "Tcp.OutRsts", 0),))


ON_WIRE: tuple[Scenario[Wire], ...] = (
    Scenario("time_wait_FIN", _reached_by(FIN_ACK, _repeat_fin)),
    Scenario("time_wait_data", _reached_by(PSH_ACK, _send_data)),
    Scenario("time_wait_ACK", _reached_by(Flag.ACK, lambda puppet: puppet.send(Flag.ACK))),
    Scenario("time_wait_SYN", _reached_by(Flag.SYN, lambda puppet: puppet.send(Flag.SYN, sequence_error=-5))),
)

QUIET_ON_WIRE: tuple[Scenario[Wire], ...] = (Scenario("ordinary_close", _ordinary_close),)
"""What happens all day long, and must not be reported."""
