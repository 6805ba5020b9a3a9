"""What each drop of the laboratory is judged to be. The agent's own lists are not asked: they are what is tested.

By the kernel's names (include/net/dropreason-core.h), without their prefix. NOT_GIVEN is a kernel's that has none.
"""

from __future__ import annotations

from typing import Final

NO_FAULT: Final = frozenset({"IPV6DISABLED"})
"""Counted, but no event and not "abnormal"."""

MALFORMED: Final = frozenset({"ICMP_CSUM", "IP_CSUM", "IP_INHDR", "PKT_TOO_SMALL", "TCP_CSUM", "UDP_CSUM"})
"""The packet's own fault: an event, but not "abnormal"."""

ABNORMAL: Final = frozenset(
    {
        "FRAG_REASM_TIMEOUT",
        "FULL_RING",
        "INVALID_SYN",
        "IP_INADDRERRORS",
        "IP_INNOROUTES",
        "IP_LOCALNET",
        "IP_NOPROTO",
        "IP_OUTNOROUTES",
        "IP_RPFILTER",
        "NEIGH_FAILED",
        "NETFILTER_DROP",
        "NOT_GIVEN",
        "NOT_SPECIFIED",
        "NO_SOCKET",
        "PKT_TOO_BIG",
        "QDISC_DROP",
        "SOCKET_FILTER",
        "SOCKET_RCVBUFF",
        "TCP_ABORT_ON_DATA",
        "TCP_FLAGS",
        "TCP_INVALID_ACK_SEQUENCE",
        "TCP_INVALID_END_SEQUENCE",
        "TCP_INVALID_SEQUENCE",
        "TCP_LISTEN_OVERFLOW",
        "TCP_OLD_SEQUENCE",
        "TCP_RESET",
        "TCP_ZEROWINDOW",
    }
)
"""An event, and "abnormal"."""


def is_event(reason: str) -> bool:
    """Whether a drop for this reason must be an event. Raises KeyError for a reason that nobody has judged."""
    if reason not in NO_FAULT | MALFORMED | ABNORMAL:
        raise KeyError(f"{reason}: decide in tests/faults/judgement.py what the agent must make of it")
    return reason not in NO_FAULT
