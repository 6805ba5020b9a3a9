"""What a drop reason means: which are no fault at all, and which are the packet's own.

By the kernel's names (include/net/dropreason-core.h), without their prefix: numbers differ from kernel to
kernel. A reason that is in neither list, one of tomorrow's among them, is taken for a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PREFIX: Final = "SKB_DROP_REASON_"

ORDINARY: Final = frozenset(
    {
        # A program or the kernel is done with the packet: nobody waits for it.
        "SOCKET_CLOSE",
        "QUEUE_PURGE",
        "UNIX_DISCONNECT",
        "UNIX_SKIP_OOB",
        # The data came twice: what was lost before was reported before.
        "TCP_OLD_DATA",
        "TCP_OFOMERGE",
        "DUP_FRAG",
        # Not for this machine, but the wire brings it to everybody.
        "OTHERHOST",
        "UNICAST_IN_L2_MULTICAST",
        "UNHANDLED_PROTO",
        "IPV6DISABLED",
        # A copy for a packet socket (tcpdump) or a tap that did not want it, or had no room for it.
        "PACKET_SOCK_ERROR",
        "TAP_FILTER",
        "TAP_TXFILTER",
    }
)
"""Counted, but no event and not "abnormal"."""

ORDINARY_FUNCTIONS: Final = (
    # Multicast that nobody here has joined.
    "ip6_mc_input",
    # Every message but an echo, when it has been dealt with (seen on Linux 5.10 and 6.1).
    "icmpv6_rcv",
    # What nobody has read when a socket is closed; later kernels say QUEUE_PURGE.
    "inet_sock_destruct",
    "skb_queue_purge",
    # The same of TCP: in an ordinary close, the peer's FIN.
    "sk_stream_kill_queues",
    # The same of UDP; the second is what older kernels call it.
    "udp_destruct_common",
    "udp_destruct_sock",
    # VMware's driver, of what it has sent (vmxnet3; gcc puts the second into the first).
    "vmxnet3_tq_tx_complete",
    "vmxnet3_unmap_pkt",
)
"""Functions that free what is ordinary as if it were dropped, without giving a reason."""

GROUP_FUNCTIONS: Final = (
    # Multicast that nobody here has joined: older compilers and kernels have one of these in another.
    "ip_rcv_finish_core",
    "ip_rcv_finish",
    "ip_rcv",
    # Broadcast or multicast for a port at which nobody listens.
    "__udp4_lib_mcast_deliver",
    "__udp4_lib_rcv",
    "udp_rcv",
    "__udp6_lib_mcast_deliver",
    "__udp6_lib_rcv",
    "udpv6_rcv",
)
"""Functions that so free what was sent to a group, or to all, and concerns nobody here."""

MALFORMED: Final = frozenset(
    {
        "PKT_TOO_SMALL",
        "TCP_CSUM",
        "UDP_CSUM",
        "IP_CSUM",
        "ICMP_CSUM",
        "SKB_CSUM",
        "IP_INHDR",
        "HDR_TRUNC",
        "DEV_HDR",
        "IPV6_BAD_EXTHDR",
        "IPV6_NDISC_BAD_CODE",
        "IPV6_NDISC_BAD_OPTIONS",
        "VXLAN_INVALID_HDR",
    }
)
"""The packet's own fault: an event, but not "abnormal"."""

_SUBSYSTEM_SHIFT: Final = 16
"""Since 6.4 (071c0fc6fb91) the upper half of a reason names the subsystem whose own reason the lower half is."""


class DropReasons:
    """Names of the running kernel's drop reasons."""

    def __init__(self, enumerators: Mapping[str, int], subsystems: Mapping[str, int]) -> None:
        """`enumerators` of enum skb_drop_reason, empty before 5.17; `subsystems` of enum skb_drop_reason_subsys."""
        self._names = {
            value: name.removeprefix(PREFIX)
            for name, value in enumerators.items()
            if not name.endswith(("_MAX", "_MASK"))
        }
        self._subsystems = {value: name.removeprefix(f"{PREFIX}SUBSYS_") for name, value in subsystems.items()}

    def name(self, number: int) -> str:
        """The kernel's name without its prefix; a number that it has no name for as `REASON_N`."""
        if name := self._names.get(number):
            return name
        subsystem = self._subsystems.get(number >> _SUBSYSTEM_SHIFT)
        if subsystem and number >> _SUBSYSTEM_SHIFT:
            return f"{subsystem}_{number & 0xFFFF}"
        return f"REASON_{number}" if number else "NOT_GIVEN"

    def ordinary(self) -> list[int]:
        """Numbers of the ordinary reasons that this kernel has."""
        return [number for number, name in self._names.items() if name in ORDINARY]
