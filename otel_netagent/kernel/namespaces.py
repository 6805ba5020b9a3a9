"""The walk over the network namespaces that have a process, with the SNMP counters (MIBs) of each.

Two ways that give the same numbers: one pass in the kernel (bpf/namespaces.bpf.c), and procfs.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from otel_netagent.kernel import procfs
from otel_netagent.kernel.bpf_object import BpfObject
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.libbpf import BpfError

MibField = tuple[str, str]
"""A counter by the names that /proc/net/{snmp,netstat} gives it: ("Tcp", "ActiveOpens")."""


class Namespace(NamedTuple):
    """A network namespace with a process in it.

    `inode` is as in /proc/PID/ns/net; `cookie` tells apart two namespaces that have the same inode one after
    the other (the inode itself on kernels that give none, before 5.12); `counters` are its MIBs, by position.
    """

    inode: int
    cookie: int
    pid: int
    counters: tuple[int, ...]


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


# Names in /proc whose enumerator is not simply the same in capitals (net/ipv4/proc.c against
# include/uapi/linux/snmp.h). Enumerators that changed their name list each.
_ENUMERATORS: Final[Mapping[MibField, tuple[str, ...]]] = {
    ("Tcp", "InCsumErrors"): ("CSUMERRORS",),
    ("Udp", "InCsumErrors"): ("CSUMERRORS",),
    ("TcpExt", "TW"): ("TIMEWAITED",),
    ("TcpExt", "TWRecycled"): ("TIMEWAITRECYCLED",),
    ("TcpExt", "TWKilled"): ("TIMEWAITKILLED",),
    ("TcpExt", "PAWSActive"): ("PAWSACTIVEREJECTED",),
    ("TcpExt", "PAWSEstab"): ("PAWSESTABREJECTED",),
    ("TcpExt", "PAWSTimewait"): ("PAWS_TW_REJECTED",),
    ("TcpExt", "BeyondWindow"): ("BEYOND_WINDOW",),
    ("TcpExt", "PAWSOldAck"): ("PAWS_OLD_ACK",),
    ("TcpExt", "TCPSackShifted"): ("SACKSHIFTED",),
    ("TcpExt", "TCPSackMerged"): ("SACKMERGED",),
    ("TcpExt", "TCPSackShiftFallback"): ("SACKSHIFTFALLBACK",),
    ("TcpExt", "IPReversePathFilter"): ("IPRPFILTER",),
    ("TcpExt", "TCPSpuriousRtxHostQueues"): ("TCPSPURIOUS_RTX_HOSTQUEUES",),
}


@dataclass(frozen=True, slots=True)
class _Mib:
    """One MIB: its name in /proc, its member of mib_counters, the prefix of its enumerators."""

    protocol: str
    member: str
    prefix: str


_MIBS: Final = (_Mib("Tcp", "tcp", "TCP_MIB_"), _Mib("Udp", "udp", "UDP_MIB_"), _Mib("TcpExt", "tcpext", "LINUX_MIB_"))


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
        size, _ = self._object.btf.structure("namespace_record")
        self._record = struct.Struct(f"=QII{(size - 16) // 8}Q")
        self.positions = dict(self._find_positions(kernel))

    def take(self) -> list[Namespace]:
        """All network namespaces that have a process now, each once. Raises BpfError."""
        if _cpu_list("online") != self._online:
            self._learn_percpu_offsets()
        return [
            Namespace(inode, cookie, pid, tuple(counters))
            for cookie, inode, pid, *counters in self._record.iter_unpack(self._iterator.read())
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
        size, members = self._object.btf.structure("mib_counters")
        starts = {member.name: member.offset // 8 for member in members}
        ends = dict(zip(starts, [*list(starts.values())[1:], size // 8], strict=True))
        for mib in _MIBS:
            enumerators = kernel.btf.anonymous_enumerators(f"{mib.prefix}NUM")
            for field in _procfs_fields():
                index = _enumerator(field, mib.prefix, enumerators) if field[0] == mib.protocol else None
                if index is not None and starts[mib.member] + index < ends[mib.member]:
                    yield field, starts[mib.member] + index


def _enumerator(field: MibField, prefix: str, enumerators: Mapping[str, int]) -> int | None:
    for name in _ENUMERATORS.get(field, (field[1].upper(),)):
        if f"{prefix}{name}" in enumerators:
            return enumerators[f"{prefix}{name}"]
    return None


class ProcfsWalk:
    """The same by /proc: slower by an order of magnitude, but every kernel has it."""

    way: Final = "procfs"

    def __init__(self, proc: Path = procfs.PROC) -> None:
        """Learn which counters there are."""
        self._proc = proc
        self.positions = {field: position for position, field in enumerate(_procfs_fields(proc))}

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
        tables = _procfs_tables(pid, self._proc)
        return tuple(tables[protocol][name] for protocol, name in self.positions) if tables else ()


def _procfs_tables(pid: int, proc: Path = procfs.PROC) -> dict[str, dict[str, int]]:
    """Tables of both files, by protocol; empty where the process is gone."""
    snmp, netstat = (procfs.read_net(pid, table, proc) for table in ("snmp", "netstat"))
    if not snmp or not netstat:
        return {}
    return procfs.parse_mib_pairs(snmp, "snmp") | procfs.parse_mib_pairs(netstat, "netstat")


def _procfs_fields(proc: Path = procfs.PROC) -> list[MibField]:
    """Every counter that /proc shows of the MIBs that are walked."""
    tables = _procfs_tables(os.getpid(), proc)
    return [(mib.protocol, name) for mib in _MIBS for name in tables[mib.protocol]]


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
