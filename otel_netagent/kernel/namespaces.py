"""The walk over the network namespaces that have a process, with the SNMP counters (MIBs) of each.

Two ways that give the same numbers: one pass in the kernel (bpf/namespaces.bpf.c), and procfs.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from otel_netagent.kernel import procfs
from otel_netagent.kernel.bpf_object import BpfObject
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.libbpf import BpfError

MibField = tuple[str, str]
"""A counter by the names that /proc/net/{snmp,netstat,snmp6} gives it: ("Tcp", "ActiveOpens")."""


class Namespace(NamedTuple):
    """A network namespace with a process in it.

    `inode` is as in /proc/PID/ns/net; `cookie` tells apart two namespaces that have the same inode one after
    the other (the inode itself on kernels that give none, before 5.12); `counters` are its MIBs, by position:
    a view that makes numbers only of those that are asked for.
    """

    inode: int
    cookie: int
    pid: int
    counters: Sequence[int]

    @property
    def key(self) -> tuple[int, int]:
        """Inode and cookie: what tells it from every other, of now and of before."""
        return self.inode, self.cookie


class NamespaceWalk(Protocol):
    """A way of walking."""

    @property
    def way(self) -> str:
        """As attach statuses spell it: `iter/task`, `procfs`."""

    @property
    def positions(self) -> Mapping[MibField, int]:
        """Where in `Namespace.counters` each counter is that this kernel has."""

    def take(self) -> list[Namespace]:
        """All network namespaces that have a process now, each once."""

    def close(self) -> None:
        """Leave nothing in the kernel."""


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

    def place(self, name: str) -> tuple[str, int] | None:
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


_HEAD: Final = struct.Struct("=QII")
"""What precedes the counters in struct namespace_record."""


class KernelWalk:
    """One pass over all tasks inside the kernel."""

    way: Final = "iter/task"

    def __init__(self, kernel: KernelFacts) -> None:
        """Load and attach. Raises BpfError where this kernel does not let it be done."""
        if not kernel.source.in_kernel:
            raise BpfError("iterators need BTF in the kernel itself")
        self._object = BpfObject(
            kernel.objects / "namespaces.bpf.o", ("learn_percpu_offset", "walk_namespaces"), kernel.custom_btf
        )
        try:
            self._object.load()
            self._refuse_offline_cpus()
            self._learn_percpu_offsets()
            self._iterator = self._object.attach_iterator("walk_namespaces")
        except BaseException:
            self._object.close()
            raise
        self._record_size, members = self._object.btf.structure("namespace_record")
        self._starts = {member.name: member.offset for member in members}
        self.positions = dict(self._find_positions(kernel))

    def take(self) -> list[Namespace]:
        """All network namespaces that have a process now, each once. Raises BpfError."""
        if _cpu_list("online") != self._online:
            self._learn_percpu_offsets()
        records = memoryview(self._iterator.read())
        size = self._record_size
        return [
            Namespace(inode, cookie, pid, records[start + _HEAD.size : start + size].cast("Q"))
            for start in range(0, len(records), size)
            for cookie, inode, pid in (_HEAD.unpack_from(records, start),)
        ]

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._object.close()

    def _refuse_offline_cpus(self) -> None:
        """A CPU that was switched off before we came keeps its share of the counters where we cannot look."""
        if missing := _cpus(_cpu_list("present")) - _cpus(_cpu_list("online")):
            raise BpfError(f"CPUs {sorted(missing)} are offline: their part of the counters cannot be found")

    def _learn_percpu_offsets(self) -> None:
        """Find the counters of every CPU that is online; what is known of one that went offline stays."""
        self._online = _cpu_list("online")
        cpus = _cpus(self._online)
        for cpu in cpus:
            if self._object.run_on_cpu("learn_percpu_offset", cpu):
                raise BpfError(f"the offset of per-CPU data of CPU {cpu} cannot be found")
        count = self._object.variable("percpu_count")
        count[0] = max(count[0], max(cpus) + 1)

    def _find_positions(self, kernel: KernelFacts) -> Iterator[tuple[MibField, int]]:
        """Where each counter is: the names from /proc, the order from the kernel's enumerations."""
        mibs, messages = self._counters_of("mib_counters", "mibs"), self._counters_of("message_counters", "messages")
        enumerators = {mib.prefix: kernel.btf.anonymous_enumerators(f"{mib.prefix}NUM") for mib in _MIBS}
        by_protocol = {mib.protocol: mib for mib in _MIBS}
        for field in _procfs_fields():
            protocol, name = field
            if message := _place_of_message(protocol, name):
                member, index = message
                yield field, messages[member][index]
                continue
            mib = by_protocol[protocol]
            number = _enumerator(mib.prefix, name, enumerators[mib.prefix])
            if number is not None and number < len(mibs[mib.member]):
                yield field, mibs[mib.member][number]

    def _counters_of(self, structure: str, member: str) -> dict[str, range]:
        """Positions of the counters of each member of one of the record's parts."""
        size, arrays = self._object.btf.structure(structure)
        start = (self._starts[member] - _HEAD.size) // 8
        ends = [array.offset for array in arrays[1:]] + [size]
        return {
            array.name: range(start + array.offset // 8, start + end // 8)
            for array, end in zip(arrays, ends, strict=True)
        }


def _place_of_message(protocol: str, name: str) -> tuple[str, int] | None:
    of_protocol = (messages for messages in _MESSAGES if messages.protocol == protocol)
    return next((place for messages in of_protocol if (place := messages.place(name))), None)


def _enumerator(prefix: str, name: str, enumerators: Mapping[str, int]) -> int | None:
    for enumerator in _ENUMERATORS.get((prefix, name), (name.upper(),)):
        if f"{prefix}{enumerator}" in enumerators:
            return enumerators[f"{prefix}{enumerator}"]
    return None


class ProcfsWalk:
    """The same by /proc: slower by an order of magnitude, but every kernel has it."""

    way: Final = "procfs"

    def __init__(self, proc: Path = procfs.PROC) -> None:
        """Learn which counters there are."""
        self._proc = proc
        self.positions = {field: position for position, field in enumerate(_procfs_fields(proc))}
        self._protocols = {protocol for protocol, _ in self.positions}

    def take(self) -> list[Namespace]:
        """All network namespaces that have a process now, each once."""
        pids: dict[int, int] = {}
        for pid in sorted(procfs.pids(self._proc)):
            inode = procfs.netns_of(pid, self._proc)
            if inode is not None:
                pids.setdefault(inode, pid)
        found = (Namespace(inode, inode, pid, self._counters(pid)) for inode, pid in pids.items())
        return [namespace for namespace in found if namespace.counters]

    def close(self) -> None:
        """Nothing is held."""

    def _counters(self, pid: int) -> tuple[int, ...]:
        """In the order of `positions`; nothing where the process has gone, maybe between two of the files."""
        tables = _procfs_tables(pid, self._proc)
        if not self._protocols <= tables.keys():
            return ()
        return tuple(tables[protocol][name] for protocol, name in self.positions)


def _procfs_tables(pid: int, proc: Path = procfs.PROC) -> dict[str, dict[str, int]]:
    """Tables of the three files, by protocol; empty where the process is gone. Where IPv6 is off there is no snmp6."""
    snmp, netstat, snmp6 = (procfs.read_net(pid, table, proc) for table in ("snmp", "netstat", "snmp6"))
    if not snmp or not netstat:
        return {}
    return (
        procfs.parse_mib_pairs(snmp, "snmp")
        | procfs.parse_mib_pairs(netstat, "netstat")
        | procfs.parse_snmp6(snmp6 or "", "snmp6")
    )


def _procfs_fields(proc: Path = procfs.PROC) -> list[MibField]:
    """Every counter that /proc shows of the MIBs that are walked."""
    tables = _procfs_tables(os.getpid(), proc)
    fields = ((mib.protocol, name) for mib in _MIBS for name in tables.get(mib.protocol, ()))
    return [field for field in fields if not _is_left_out(field)]


def _is_left_out(field: MibField) -> bool:
    """Settings, which are no counters, and what a second time counts ICMPv6 messages, by their number (InType1)."""
    protocol, name = field
    return (protocol == "Ip" and name in {"Forwarding", "DefaultTTL"}) or (
        protocol == "Icmp6" and name.startswith(("InType", "OutType"))
    )


def _cpu_list(which: str) -> str:
    """The CPUs that are `online` or `present`, as `0-3,8` (Documentation/admin-guide/cputopology.rst)."""
    return Path(f"/sys/devices/system/cpu/{which}").read_text(encoding="ascii").strip()


def _cpus(cpu_list: str) -> set[int]:
    """Numbers of the CPUs of a list."""
    cpus: set[int] = set()
    for part in cpu_list.split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus
