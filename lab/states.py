"""A TCP socket of the host in any state of RFC 9293, with the puppet that has led it there."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

from lab.segments import Flag
from lab.sockets import listening, port_of, read_all, stream
from lab.truth import Family
from lab.wire import Puppet, Wire

FIN_ACK = Flag.FIN | Flag.ACK
SYN_ACK = Flag.SYN | Flag.ACK
RST_ACK = Flag.RST | Flag.ACK
PSH_ACK = Flag.PSH | Flag.ACK

PUPPET_PORT = 4000
_SEGMENT = 1400


@contextlib.contextmanager
def connecting(wire: Wire, family: Family) -> Iterator[tuple[socket.socket, Puppet]]:
    """A socket in SYN_SENT, and the puppet that has its SYN."""
    with stream(wire.host, family) as caller:
        caller.setblocking(False)
        puppet = wire.puppet(family, PUPPET_PORT, port_of(caller))
        caller.connect_ex((family.socket_address(puppet.sends.source.address), PUPPET_PORT))
        puppet.expect(Flag.SYN)
        yield caller, puppet


@contextlib.contextmanager
def requested(wire: Wire, family: Family) -> Iterator[Puppet]:
    """A connection in SYN_RECV: the puppet has the SYN-ACK of a listening socket and has not answered it."""
    with listening(wire.host, family) as listener:
        puppet = wire.puppet(family, PUPPET_PORT, port_of(listener))
        puppet.send(Flag.SYN)
        puppet.expect(SYN_ACK)
        yield puppet


@contextlib.contextmanager
def accepted(wire: Wire, family: Family) -> Iterator[tuple[socket.socket, Puppet]]:
    """A socket in ESTABLISHED that the puppet has connected to; its listener is closed already."""
    with contextlib.ExitStack() as stack:
        with listening(wire.host, family) as listener:
            puppet = wire.puppet(family, PUPPET_PORT, port_of(listener))
            puppet.connect()
            connected, _ = listener.accept()
            stack.enter_context(connected)
        yield connected, puppet


@contextlib.contextmanager
def with_closed_window(wire: Wire, family: Family) -> Iterator[Puppet]:
    """A socket in ESTABLISHED whose program does not read, and which has no room for what the puppet would send."""
    with accepted(wire, family) as (connected, puppet):
        window = _SEGMENT
        while window:
            puppet.send(PSH_ACK, bytes(min(window, _SEGMENT)))
            window = puppet.expect(Flag.ACK).window
        yield puppet
        connected.setblocking(False)
        read_all(connected)  # to close with data unread would reset the connection


@contextlib.contextmanager
def led_to(state: str, wire: Wire, family: Family) -> Iterator[Puppet]:
    """A socket that has been ESTABLISHED and is in `state` now, still held by the program where the state allows it."""
    with accepted(wire, family) as (connected, puppet):
        SYNCHRONIZED[state](connected, puppet)
        yield puppet


def _stay(_: socket.socket, __: Puppet) -> None:
    return


def _be_finished_by_peer(_: socket.socket, puppet: Puppet) -> None:
    puppet.send(FIN_ACK)
    puppet.expect(Flag.ACK)


def _finish_last(connected: socket.socket, puppet: Puppet) -> None:
    _be_finished_by_peer(connected, puppet)
    connected.close()
    puppet.expect(FIN_ACK)


def _finish_first(connected: socket.socket, puppet: Puppet) -> None:
    connected.shutdown(socket.SHUT_WR)
    puppet.expect(FIN_ACK)


def _finish_first_and_be_acknowledged(connected: socket.socket, puppet: Puppet) -> None:
    _finish_first(connected, puppet)
    puppet.send(Flag.ACK)


def _finish_at_once(connected: socket.socket, puppet: Puppet) -> None:
    _finish_first(connected, puppet)
    puppet.send(FIN_ACK, acknowledgment_error=-1)
    puppet.expect(Flag.ACK)


def _finish_both(connected: socket.socket, puppet: Puppet) -> None:
    _finish_first_and_be_acknowledged(connected, puppet)
    puppet.send(FIN_ACK)
    puppet.expect(Flag.ACK)


SYNCHRONIZED: dict[str, Callable[[socket.socket, Puppet], None]] = {
    "TCP_ESTABLISHED": _stay,
    "TCP_CLOSE_WAIT": _be_finished_by_peer,
    "TCP_LAST_ACK": _finish_last,
    "TCP_FIN_WAIT1": _finish_first,
    "TCP_FIN_WAIT2": _finish_first_and_be_acknowledged,
    "TCP_CLOSING": _finish_at_once,
    "TCP_TIME_WAIT": _finish_both,
}
"""How to lead an ESTABLISHED socket to each state, by the kernel's name of the state."""
