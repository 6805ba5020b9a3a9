"""Names of the states of a TCP socket."""

from __future__ import annotations

from typing import Final

from otel_netagent.model.attribute import Attribute

TCP_STATE: Final = Attribute("netagent.tcp.state", str, "state of the socket, by the kernel's name", before=" state:")

_STATES: Final = (
    "",
    "TCP_ESTABLISHED",
    "TCP_SYN_SENT",
    "TCP_SYN_RECV",
    "TCP_FIN_WAIT1",
    "TCP_FIN_WAIT2",
    "TCP_TIME_WAIT",
    "TCP_CLOSE",
    "TCP_CLOSE_WAIT",
    "TCP_LAST_ACK",
    "TCP_LISTEN",
    "TCP_CLOSING",
    "TCP_NEW_SYN_RECV",
)
"""By the numbers of include/net/tcp_states.h, which inet_diag makes part of the kernel's ABI."""


def tcp_state(number: int) -> str:
    """The kernel's name of a state; `TCP_N` for a number that it has no name for here."""
    return _STATES[number] if 0 < number < len(_STATES) else f"TCP_{number}"
