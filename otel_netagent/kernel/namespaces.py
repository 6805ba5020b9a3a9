"""The walk over the network namespaces that have a process, with the counters of each.

Two methods give the same numbers: one pass in the kernel (bpf/namespaces.bpf.c), and procfs. The pass in the kernel
yields more than MIBs: whatever costs nothing to read during it. What it does not yield, callers read from procfs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import WORD, Layout, word_positions
from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.learning import learn_conntrack, learn_sockets
from otel_netagent.kernel.mibs import CounterLocations, MibField, fields_in_procfs, tables_of
from otel_netagent.kernel.netns_cookies import NetnsCookies
from otel_netagent.kernel.proc import files, processes


class Namespace(NamedTuple):
    """A network namespace with a process in it.

    `inode` is as in /proc/PID/ns/net; the next namespace has it as soon as this one is gone. `cookie` is the key of the
    namespace, wherever something is kept from one collection to the next: it is never used twice (bpf/include/netns.h).
    Either all namespaces of a walk have one or, on a kernel without eBPF programs, none has: then it is the inode.
    `pid` is the lowest of its processes; `counters` are its numbers, by position: a view that makes numbers only of
    those that are asked for.
    """

    inode: int
    cookie: int
    pid: int
    counters: Sequence[int]


Field = MibField
"""A number of a namespace: a MIB's counter, or a part of the record beside its MIBs and the name of its member."""

SOCKETS: Final = "sockets"
CONNTRACK: Final = "conntrack"
QUEUES: Final = "queues"
"""Parts of struct namespace_record beside its MIBs, whose members are named as what they count."""


class NamespaceWalk(Protocol):
    """A method of walking."""

    @property
    def way(self) -> str:
        """As attach statuses spell it: `iter/task`, `procfs`."""

    @property
    def positions(self) -> Mapping[Field, int]:
        """Where in `Namespace.counters` each number is that this walk has on this kernel."""

    def take(self) -> list[Namespace]:
        """All network namespaces that have a process now, each once. Raises BpfError, MalformedTable or OSError."""

    def close(self) -> None:
        """Leave nothing in the kernel."""


_PROGRAMS: Final = ("learn_percpu_offset", "learn_protocol", "learn_conntrack", "walk_namespaces")

_RECORD: Final = "namespace_record"
_MIBS: Final = {"mib_counters": "mibs", "message_counters": "messages"}
"""Parts of struct namespace_record that are its MIBs, by the name of their structure."""


class _Identity(NamedTuple):
    """The members of struct namespace_record that say whose it is."""

    cookie: int
    inode: int
    pid: int


class KernelWalk:
    """One pass over all tasks inside the kernel. Of several threads one walks at a time: the record there is one."""

    way: Final = "iter/task"

    def __init__(self, kernel: KernelFacts) -> None:
        """Load and attach. Raises BpfError where this kernel does not let it be done, BtfInvalid, MalformedTable."""
        if not kernel.source.in_kernel:
            raise BpfError("iterators need BTF in the kernel itself")
        self._one_reader = threading.Lock()
        self._object = BpfObject(kernel.objects / "namespaces.bpf.o", _PROGRAMS, kernel.custom_btf)
        try:
            self._object.load()
            self._refuse_offline_cpus()
            self._learn_percpu_offsets()
            self._learn_positions(kernel)
            self._iterator = self._object.attach_iterator("walk_namespaces")
            self._identity = Layout(self._object.btf, _RECORD, _Identity)
            self._record_size, _ = self._object.btf.structure(_RECORD)
        except BaseException:
            self._object.close()
            raise

    def take(self) -> list[Namespace]:
        """All network namespaces that have a process now, each once. Raises BpfError."""
        with self._one_reader:
            if _cpu_list("online") != self._online:
                self._learn_percpu_offsets()
            self._follow_conntrack()
            records = self._iterator.read()
        words, size = memoryview(records).cast("Q"), self._record_size // WORD
        return [
            Namespace(whose.inode, whose.cookie, whose.pid, words[start : start + size])
            for start, whose in zip(range(0, len(words), size), self._identity.read_all(records), strict=True)
        ]

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._object.close()

    def _refuse_offline_cpus(self) -> None:
        """A CPU that was switched off before we came keeps its share of the counters where we cannot look."""
        if missing := _cpus_of(_cpu_list("present")) - _cpus_of(_cpu_list("online")):
            raise BpfError(f"CPUs {sorted(missing)} are offline: their part of the counters cannot be found")

    def _learn_percpu_offsets(self) -> None:
        """Find the counters of every CPU that is online; the offset of one that went offline is kept."""
        self._online = _cpu_list("online")
        online = _cpus_of(self._online)
        for cpu in online:
            if self._object.run_on_cpu("learn_percpu_offset", cpu):
                raise BpfError(f"the offset of per-CPU data of CPU {cpu} cannot be found")
        count = self._object.variable("percpu_count")
        count[0] = max(count[0], max(online) + 1)

    def _learn_positions(self, kernel: KernelFacts) -> None:
        """Find out where in the record each number is that this kernel has."""
        self.positions: Mapping[Field, int] = {
            **dict(self._find_positions(kernel)),
            **(self._positions_in(SOCKETS) if learn_sockets(self._object) else {}),
            **self._positions_in(QUEUES),
        }
        self._follow_conntrack()

    def _follow_conntrack(self) -> None:
        """Find the counters of connection tracking: its module may come, go, and come back elsewhere."""
        if learn_conntrack(self._object) and (CONNTRACK, "entries") not in self.positions:
            self.positions = {**self.positions, **self._positions_in(CONNTRACK)}

    def _find_positions(self, kernel: KernelFacts) -> Iterator[tuple[MibField, int]]:
        """Where each counter is that /proc has a name for."""
        parts = {structure: word_positions(self._object.btf, _RECORD, part) for structure, part in _MIBS.items()}
        locations = CounterLocations(kernel.btf)
        for field in fields_in_procfs():
            location = locations.of(field)
            if location and location.number < len(parts[location.structure][location.member]):
                yield field, parts[location.structure][location.member][location.number]

    def _positions_in(self, part: str) -> dict[Field, int]:
        counters = word_positions(self._object.btf, _RECORD, part)
        return {(part, name): position.start for name, position in counters.items()}


def _cpu_list(which: str) -> str:
    """The CPUs that are `online` or `present`, as `0-3,8` (Documentation/admin-guide/cputopology.rst)."""
    return Path(f"/sys/devices/system/cpu/{which}").read_text(encoding="ascii").strip()


def _cpus_of(cpu_list: str) -> set[int]:
    cpus: set[int] = set()
    for part in cpu_list.split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


class ProcfsWalk:
    """The same via /proc: slower by an order of magnitude, but every kernel has it.

    Where a kernel accepts eBPF programs, but no iterators, `cookies` distinguishes namespaces of the same inode.
    """

    way: Final = "procfs"

    def __init__(self, proc: Path = files.PROC, cookies: NetnsCookies | None = None) -> None:
        """Learn which counters there are. Raises MalformedTable."""
        self._proc = proc
        self._cookies = cookies
        self.positions = {field: position for position, field in enumerate(fields_in_procfs(proc))}
        self._protocols = {protocol for protocol, _ in self.positions}

    def take(self) -> list[Namespace]:
        """All network namespaces that have a process now, each once. Raises BpfError, MalformedTable or OSError."""
        pids: dict[int, int] = {}
        for pid in sorted(processes.pids(self._proc)):
            inode = processes.netns_of(pid, self._proc)
            if inode is not None:
                pids.setdefault(inode, pid)
        return [namespace for inode, pid in pids.items() if (namespace := self._namespace(inode, pid))]

    def close(self) -> None:
        """Leave nothing in the kernel."""
        if self._cookies:
            self._cookies.close()

    def _namespace(self, inode: int, pid: int) -> Namespace | None:
        """The namespace, as one of its processes shows it; None where the process is gone meanwhile."""
        identity = self._cookies.of(pid, self._proc) if self._cookies else (inode, inode)
        counters = self._counters(pid)
        if identity is None or identity[0] != inode or not counters:
            return None
        return Namespace(*identity, pid, counters)

    def _counters(self, pid: int) -> tuple[int, ...]:
        """In the order of `positions`; nothing where the process has gone, maybe between two of the files."""
        tables = tables_of(pid, self._proc)
        if not self._protocols <= tables.keys():
            return ()
        return tuple(tables[protocol][name] for protocol, name in self.positions)
