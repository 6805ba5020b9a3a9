"""Open file descriptors of each namespace's processes: each process once, however many threads it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import Layout
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.kernel.proc import files, processes
from otel_netagent.model.probe_status import HookStatus
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Table
from otel_netagent.probing.capability import EBPF
from otel_netagent.probing.columns import Column, Columns
from otel_netagent.probing.declaration import Environment, EventSource, Probe
from otel_netagent.probing.reading import start_reader


def _gauge(name: str, field: str, meaning: str) -> Column[str]:
    source = "/proc/PID/fd, every process once"
    return Column(field, Series(f"inspector_pod_{name}", Kind.GAUGE, "{fd}", meaning, source))


_COLUMNS: Final = Columns(
    _gauge("fdopenfd", "open", "open file descriptors"),
    _gauge("fdopensocket", "sockets", "open file descriptors that are sockets"),
)


class Descriptors(NamedTuple):
    """Of one process (`struct process_descriptors`); `netns` is the inode of the namespace that it is in now."""

    netns: int
    open: int
    sockets: int


class _Reader(Protocol):
    def read(self) -> Iterator[Descriptors]:
        """Every process now."""

    def close(self) -> None:
        """Leave nothing in the kernel."""


class KernelDescriptors:
    """One pass over all processes inside the kernel (bpf/fd.bpf.c)."""

    def __init__(self, kernel: KernelFacts) -> None:
        """Load and attach. Raises BpfError."""
        self._object = BpfObject(kernel.objects / "fd.bpf.o", ("count_processes",))
        try:
            self._object.load()
            self._iterator = self._object.attach_iterator("count_processes")
            self._layout = Layout(self._object.btf, "process_descriptors", Descriptors)
        except BaseException:
            self._object.close()
            raise

    def read(self) -> Iterator[Descriptors]:
        """Every process now. Raises BpfError."""
        return self._layout.read_all(self._iterator.read())

    def close(self) -> None:
        """Take the program out of the kernel."""
        self._object.close()


class ProcfsDescriptors:
    """The same from /proc/PID/fd: a system call for each descriptor."""

    def __init__(self, proc: Path = files.PROC) -> None:
        """Nothing is read yet."""
        self._proc = proc

    def read(self) -> Iterator[Descriptors]:
        """Every process now."""
        for pid in processes.pids(self._proc):
            netns = processes.netns_of(pid, self._proc)
            files = processes.open_files(pid, self._proc)
            if netns is not None and files is not None:
                sockets = sum(file.startswith("socket:[") for file in files)
                yield Descriptors(netns, open=len(files), sockets=sockets)

    def close(self) -> None:
        """Nothing is held."""


class _RunningFd:
    event_source: EventSource | None = None

    def __init__(self, environment: Environment) -> None:
        self._reader: _Reader
        self._reader, hook = start_reader(
            environment, "open descriptors of every process", "iter/task", KernelDescriptors, ProcfsDescriptors
        )
        self.hooks: tuple[HookStatus, ...] = (hook,)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        open_files: Counter[int] = Counter()
        sockets: Counter[int] = Counter()
        for process in self._reader.read():
            open_files[process.netns] += process.open
            sockets[process.netns] += process.sockets
        sums = {
            each.cookie: Descriptors(each.inode, open=open_files[each.inode], sockets=sockets[each.inode])
            for each in namespaces
        }
        yield Table("fd", _COLUMNS.series, {(cookie, ()): _COLUMNS.row(each) for cookie, each in sums.items()})

    def close(self) -> None:
        self._reader.close()


PROBE: Final = Probe(
    name="fd",
    summary="open file descriptors, and sockets among them",
    start=_RunningFd,
    series=_COLUMNS.series,
    cost="0.5 ms for 110 namespaces, 1.4 ms for 10,000 descriptors",
    capabilities=EBPF,
)
