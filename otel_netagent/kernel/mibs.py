"""The kernel's SNMP counters (MIBs): their names in /proc, and where each is in the records of bpf/namespaces.bpf.c."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.proc import files, mib_tables

MibField = tuple[str, str]
"""A counter by the names that /proc/net/{snmp,netstat,snmp6} gives it: ("Tcp", "ActiveOpens")."""


class CounterLocation(NamedTuple):
    """Where a counter is in a record: the structure, its member, which is an array, and the number in it."""

    structure: str
    member: str
    number: int


@dataclass(frozen=True, slots=True)
class _Mib:
    """One MIB: its name in /proc, its member of mib_counters, the prefix of its enumerators."""

    protocol: str
    member: str
    prefix: str


_MIBS: Final = (
    _Mib("Tcp", "tcp", "TCP_MIB_"),
    _Mib("Udp", "udp", "UDP_MIB_"),
    _Mib("TcpExt", "tcpext", "LINUX_MIB_"),
    _Mib("Ip", "ip", "IPSTATS_MIB_"),
    _Mib("IpExt", "ip", "IPSTATS_MIB_"),
    _Mib("Icmp", "icmp", "ICMP_MIB_"),
    _Mib("Udp6", "udp6", "UDP_MIB_"),
    _Mib("Ip6", "ip6", "IPSTATS_MIB_"),
    _Mib("Icmp6", "icmp6", "ICMP6_MIB_"),
)

_BY_PROTOCOL: Final = {mib.protocol: mib for mib in _MIBS}

# Names in /proc whose enumerator is not simply the same in capitals (net/ipv4/proc.c and net/ipv6/proc.c against
# include/uapi/linux/snmp.h). Enumerators that changed their name list each, the newest first.
_ENUMERATORS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("TCP_MIB_", "InCsumErrors"): ("CSUMERRORS",),
    ("UDP_MIB_", "InCsumErrors"): ("CSUMERRORS",),
    ("LINUX_MIB_", "TW"): ("TIMEWAITED",),
    ("LINUX_MIB_", "TWRecycled"): ("TIMEWAITRECYCLED",),
    ("LINUX_MIB_", "TWKilled"): ("TIMEWAITKILLED",),
    ("LINUX_MIB_", "PAWSActive"): ("PAWSACTIVEREJECTED",),
    ("LINUX_MIB_", "PAWSEstab"): ("PAWSESTABREJECTED",),
    ("LINUX_MIB_", "PAWSTimewait"): ("PAWS_TW_REJECTED",),
    ("LINUX_MIB_", "BeyondWindow"): ("BEYOND_WINDOW",),
    ("LINUX_MIB_", "PAWSOldAck"): ("PAWS_OLD_ACK",),
    ("LINUX_MIB_", "TCPSackShifted"): ("SACKSHIFTED",),
    ("LINUX_MIB_", "TCPSackMerged"): ("SACKMERGED",),
    ("LINUX_MIB_", "TCPSackShiftFallback"): ("SACKSHIFTFALLBACK",),
    ("LINUX_MIB_", "IPReversePathFilter"): ("IPRPFILTER",),
    ("LINUX_MIB_", "TCPSpuriousRtxHostQueues"): ("TCPSPURIOUS_RTX_HOSTQUEUES",),
    ("IPSTATS_MIB_", "InReceives"): ("INPKTS",),
    ("IPSTATS_MIB_", "ForwDatagrams"): ("OUTFORWDATAGRAMS",),
    # Until 6.7 (e4da8c78973c) what is sent was counted once, and called requests.
    ("IPSTATS_MIB_", "OutRequests"): ("OUTREQUESTS", "OUTPKTS"),
    ("IPSTATS_MIB_", "OutTransmits"): ("OUTPKTS",),
    ("IPSTATS_MIB_", "InCsumErrors"): ("CSUMERRORS",),
    ("IPSTATS_MIB_", "InNoECTPkts"): ("NOECTPKTS",),
    ("IPSTATS_MIB_", "InECT1Pkts"): ("ECT1PKTS",),
    ("IPSTATS_MIB_", "InECT0Pkts"): ("ECT0PKTS",),
    ("IPSTATS_MIB_", "InCEPkts"): ("CEPKTS",),
    ("IPSTATS_MIB_", "ReasmOverlaps"): ("REASM_OVERLAPS",),
    ("ICMP_MIB_", "InCsumErrors"): ("CSUMERRORS",),
    ("ICMP_MIB_", "OutRateLimitGlobal"): ("RATELIMITGLOBAL",),
    ("ICMP_MIB_", "OutRateLimitHost"): ("RATELIMITHOST",),
    ("ICMP6_MIB_", "InCsumErrors"): ("CSUMERRORS",),
    ("ICMP6_MIB_", "OutRateLimitHost"): ("RATELIMITHOST",),
}


@dataclass(frozen=True, slots=True)
class _Messages:
    """Counters of ICMP messages by type: two members of message_counters, and the names that the types have in /proc.

    The kernel has enumerators of the same names too (ICMP_MIB_INECHOS), which nothing counts.
    """

    protocol: str
    member: str
    first_type: int
    names: Mapping[str, int]

    def location(self, name: str) -> tuple[str, int] | None:
        """Member and index of a counter such as InEchos, if it is one of these."""
        for prefix, suffix in (("In", "_in"), ("Out", "_out")):
            if name.startswith(prefix) and (kind := self.names.get(name.removeprefix(prefix))) is not None:
                return self.member + suffix, kind - self.first_type
        return None


_MESSAGES: Final = (
    _Messages(  # icmpmibmap in net/ipv4/proc.c
        "Icmp",
        "icmp",
        0,
        {
            "EchoReps": 0,
            "DestUnreachs": 3,
            "SrcQuenchs": 4,
            "Redirects": 5,
            "Echos": 8,
            "TimeExcds": 11,
            "ParmProbs": 12,
            "Timestamps": 13,
            "TimestampReps": 14,
            "AddrMasks": 17,
            "AddrMaskReps": 18,
        },
    ),
    # icmp6type2name in net/ipv6/proc.c
    _Messages("Icmp6", "icmp6_errors", 0, {"DestUnreachs": 1, "PktTooBigs": 2, "TimeExcds": 3, "ParmProblems": 4}),
    _Messages(
        "Icmp6",
        "icmp6_info",
        128,
        {
            "Echos": 128,
            "EchoReplies": 129,
            "GroupMembQueries": 130,
            "GroupMembResponses": 131,
            "GroupMembReductions": 132,
            "RouterSolicits": 133,
            "RouterAdvertisements": 134,
            "NeighborSolicits": 135,
            "NeighborAdvertisements": 136,
            "Redirects": 137,
            "MLDv2Reports": 143,
        },
    ),
)


class CounterLocations:
    """Where this kernel keeps each counter."""

    def __init__(self, btf: Btf) -> None:
        """Read the enumerations of the running kernel."""
        self._enumerators = {mib.prefix: btf.anonymous_enumerators(f"{mib.prefix}NUM") for mib in _MIBS}

    def of(self, field: MibField) -> CounterLocation | None:
        """The location of a counter; None where the kernel has no enumerator for it."""
        protocol, name = field
        messages = (messages for messages in _MESSAGES if messages.protocol == protocol)
        if message := next((location for each in messages if (location := each.location(name))), None):
            return CounterLocation("message_counters", *message)
        mib = _BY_PROTOCOL[protocol]
        for enumerator in _ENUMERATORS.get((mib.prefix, name), (name.upper(),)):
            number = self._enumerators[mib.prefix].get(f"{mib.prefix}{enumerator}")
            if number is not None:
                return CounterLocation("mib_counters", mib.member, number)
        return None


def tables_of(pid: int, proc: Path = files.PROC) -> dict[str, dict[str, int]]:
    """Tables of the three files, by protocol and name; empty where the process is gone. Raises MalformedTable.

    Where IPv6 is off there is no snmp6.
    """
    snmp, netstat, snmp6 = (files.read_net(pid, table, proc) for table in ("snmp", "netstat", "snmp6"))
    if not snmp or not netstat:
        return {}
    return (
        mib_tables.parse_mib_pairs(snmp, "snmp")
        | mib_tables.parse_mib_pairs(netstat, "netstat")
        | mib_tables.parse_snmp6(snmp6 or "", "snmp6")
    )


def fields_in_procfs(proc: Path = files.PROC) -> list[MibField]:
    """Every counter that /proc shows of the MIBs that are walked, in its order. Raises MalformedTable."""
    tables = tables_of(os.getpid(), proc)
    fields = ((mib.protocol, name) for mib in _MIBS for name in tables.get(mib.protocol, ()))
    return [field for field in fields if not _is_left_out(field)]


def _is_left_out(field: MibField) -> bool:
    """Settings, which are no counters, and what a second time counts ICMPv6 messages, by their number (InType1)."""
    protocol, name = field
    return (protocol == "Ip" and name in {"Forwarding", "DefaultTTL"}) or (
        protocol == "Icmp6" and name.startswith(("InType", "OutType"))
    )
