"""The puppet leads a socket to the state that it names, and the program gets the error that TCP's standard tells."""

from __future__ import annotations

import errno
import socket

import pytest

from lab.segments import Flag
from lab.states import PUPPET_PORT, RST_ACK, SYNCHRONIZED, accepted, connecting, led_to, requested
from lab.truth import Family
from lab.wire import Wire


def _shown_by_ss(wire: Wire) -> list[str]:
    """States of the sockets that talk with the puppet, as ss(8) names them."""
    return [
        line.split()[0]
        for line in wire.host.namespace.command("ss", "-tanH", "dport", "=", f"{PUPPET_PORT}").splitlines()
    ]


_NAMES_OF_SS = {
    "TCP_ESTABLISHED": "ESTAB",
    "TCP_CLOSE_WAIT": "CLOSE-WAIT",
    "TCP_LAST_ACK": "LAST-ACK",
    "TCP_FIN_WAIT1": "FIN-WAIT-1",
    "TCP_FIN_WAIT2": "FIN-WAIT-2",
    "TCP_CLOSING": "CLOSING",
    "TCP_TIME_WAIT": "TIME-WAIT",
}


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_synchronized_state(state: str, family: Family, wire: Wire) -> None:
    with led_to(state, wire, family):
        assert _shown_by_ss(wire) == [_NAMES_OF_SS[state]]


@pytest.mark.parametrize("family", Family)
def test_state_of_handshake(family: Family, wire: Wire) -> None:
    with connecting(wire, family):
        assert _shown_by_ss(wire) == ["SYN-SENT"]
    with requested(wire, family):
        assert _shown_by_ss(wire) == ["SYN-RECV"]


@pytest.mark.parametrize("family", Family)
def test_reset_in_syn_sent_refuses_the_connection(family: Family, wire: Wire) -> None:
    with connecting(wire, family) as (caller, puppet):
        puppet.send(RST_ACK)
        assert caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


@pytest.mark.parametrize("family", Family)
def test_reset_in_established_resets_the_connection(family: Family, wire: Wire) -> None:
    with accepted(wire, family) as (connected, puppet):
        puppet.send(Flag.RST)
        with pytest.raises(ConnectionResetError):
            connected.recv(1)


@pytest.mark.parametrize("family", Family)
def test_reset_in_close_wait_breaks_the_pipe(family: Family, wire: Wire) -> None:
    with accepted(wire, family) as (connected, puppet):
        puppet.send(Flag.FIN | Flag.ACK)
        puppet.send(Flag.RST)
        with pytest.raises(BrokenPipeError):
            connected.send(b"data")
