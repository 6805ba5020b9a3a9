"""Input and output of each namespace's processes, those that have ended among them: it never goes backwards.

What counts is each thread's own accounting. /proc/PID/io of a process holds also what its children did, once it has
reaped them: the sum over processes would count that twice, or lose it (bpf/io.bpf.c has the details).
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeAlias

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import Layout, integer
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.kernel.proc import files, process_io, processes
from otel_netagent.kernel.proc.process_io import Io
from otel_netagent.model.probe_status import HookStatus
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import RowKey, Table, Values
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.capability import EBPF
from otel_netagent.probing.columns import Column, Columns
from otel_netagent.probing.declaration import Environment, EventSource, Probe
from otel_netagent.probing.monotonic import Monotonic
from otel_netagent.probing.reading import start_reader
from otel_netagent.probing.walk_keys import WalkKeys


def _counter(name: str, field: str, unit: str, meaning: str, *aliases: str) -> Column[str]:
    full_names = tuple(f"inspector_pod_{alias}" for alias in aliases)
    source = f"/proc/PID/task/TID/io {field}, kept when a thread ends"
    return Column(field, Series(f"inspector_pod_{name}", Kind.COUNTER, unit, meaning, source, aliases=full_names))


_COLUMNS: Final = Columns(
    _counter("ioioreadsyscall", "syscr", "{operation}", "read-like calls"),
    _counter("ioiowritesyscall", "syscw", "{operation}", "write-like calls"),
    _counter("ioioreadbytes", "read_bytes", "By", "bytes read from the file system (mostly block devices)"),
    _counter("ioiowritebytes", "write_bytes", "By", "bytes written to the file system", "ioiowritebyres"),
)

_NOTHING: Final = Io(0, 0, 0, 0)


_Part: TypeAlias = tuple[int, int]
"""A thread by its id and its start, since ids are used again; with _HISTORY, what its process had done before."""

_HISTORY: Final = -1


class _Reader(Protocol):
    def read(self, namespaces: Sequence[Namespace]) -> Mapping[int, Io]:
        """What was done so far in each of these that has a process, by its cookie."""

    def close(self) -> None:
        """Leave nothing in the kernel."""


class _Owner(NamedTuple):
    """Whose a `struct namespace_account` is."""

    last_pass: int
    netns_inode: int


class KernelIo:
    """Accounts that the kernel keeps by namespace, of threads that live and that have ended (bpf/io.bpf.c)."""

    _FORGET_AFTER: Final = 3
    """Passes that an account without a process is kept for: more processes may come."""

    def __init__(self, kernel: KernelFacts) -> None:
        """Load, attach, and take over what was done before. Raises BpfError."""
        self._object = BpfObject(kernel.objects / "io.bpf.o", ("count_ended", "count_living"))
        try:
            self._object.load()
            self._object.attach("count_ended")
            self._iterator = self._object.attach_iterator("count_living")
            self._accounts = self._object.map("accounts")
            self._cookie = integer(self._accounts.key_size)
            self._pass = self._object.variable("pass")
            self._owner = Layout(self._object.btf, "namespace_account", _Owner)
            self._living = Layout(self._object.btf, "namespace_account", Io, part="living")
            self._ended = Layout(self._object.btf, "namespace_account", Io, part="ended")
            self._take_over_history()
        except BaseException:
            self._object.close()
            raise

    def read(self, namespaces: Sequence[Namespace]) -> Mapping[int, Io]:
        """What was done so far in each of these that has a process, by its cookie. Raises BpfError."""
        self._iterator.read()
        keys, this_pass = WalkKeys(namespaces), self._pass[0]
        done: dict[int, Io] = {}
        for cookie, owner, living, ended in self._read_accounts():
            namespace = keys.of(cookie, owner.netns_inode)
            if owner.last_pass == this_pass and namespace is not None:
                done[namespace] = Io._make(map(operator.add, living, ended))
            elif owner.last_pass + self._FORGET_AFTER < this_pass:
                self._accounts.delete(self._cookie.pack(cookie))
        return done

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._object.close()

    def _read_accounts(self) -> Iterator[tuple[int, _Owner, Io, Io]]:
        """Each with the cookie of its namespace: what threads that live, and those that have ended, have done."""
        keys, values = self._accounts.read_all()
        cookies = (cookie for (cookie,) in self._cookie.iter_unpack(keys))
        parts = (layout.read_all(values) for layout in (self._owner, self._living, self._ended))
        return zip(cookies, *parts, strict=True)

    def _take_over_history(self) -> None:
        """Begin with what /proc/PID/io of the processes shows now; from here on each thread's own account is added."""
        with_history = self._object.variable("with_history")
        with_history[0] = 1
        self._iterator.read()
        with_history[0] = 0


class ProcfsIo:
    """The same from procfs, but for what a thread does between the last look and its end."""

    def __init__(self, proc: Path = files.PROC) -> None:
        """Nothing is read yet."""
        self._proc = proc
        self._totals: Monotonic[int, _Part] = Monotonic(len(Io._fields))
        self._with_history = True

    def read(self, namespaces: Sequence[Namespace]) -> Mapping[int, Io]:
        """What was done so far in each of these that has a process, by its cookie.

        The first time, what /proc/PID/io of the processes shows beside their threads is what was done before.
        """
        accounts = self._accounts({each.inode: each.cookie for each in namespaces})
        self._with_history = False
        return {cookie: Io._make(total) for cookie, total in self._totals.totals(accounts).items()}

    def close(self) -> None:
        """Nothing is held."""

    def _accounts(self, cookies: Mapping[int, int]) -> dict[int, dict[_Part, Values]]:
        """The account of each thread, by the namespace of its process; and what is the process's beyond that."""
        accounts: dict[int, dict[_Part, Values]] = {}
        for pid in processes.pids(self._proc):
            cookie = cookies.get(processes.netns_of(pid, self._proc) or 0)
            if cookie is None:
                continue
            own = dict(self._threads_of(pid))
            whole = process_io.io_of(pid, self._proc) if self._with_history else None
            if whole is not None and own:
                own[pid, _HISTORY] = tuple(map(operator.sub, whole, map(sum, zip(*own.values(), strict=True))))
            accounts.setdefault(cookie, {}).update(own)
        return accounts

    def _threads_of(self, pid: int) -> Iterator[tuple[_Part, Values]]:
        for thread in processes.threads(pid, self._proc):
            start = processes.start_ticks(thread, self._proc)
            account = process_io.io_of_thread(pid, thread, self._proc)
            if start is not None and account is not None:
                yield (thread, start), account


class _RunningIo:
    event_source: EventSource | None = None

    def __init__(self, environment: Environment) -> None:
        if process_io.io_of(os.getpid()) is None:
            raise Unavailable("this kernel keeps no account of input and output (CONFIG_TASK_IO_ACCOUNTING)")
        self._reader: _Reader
        self._reader, hook = start_reader(
            environment, "input and output of every thread", "iter/task", KernelIo, ProcfsIo
        )
        self.hooks: tuple[HookStatus, ...] = (hook,)
        self._shown: dict[int, Io] = {}

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        """For the moment in which a thread ends it is missing: then the number that was shown before stays."""
        namespaces = list(namespaces)
        done = self._reader.read(namespaces)
        shown: dict[int, Io] = {}
        rows: dict[RowKey, Values] = {}
        for namespace in namespaces:
            before = self._shown.get(namespace.cookie, _NOTHING)
            shown[namespace.cookie] = now = Io._make(map(max, before, done.get(namespace.cookie, _NOTHING)))
            rows[namespace.cookie, ()] = _COLUMNS.row(now)
        self._shown = shown
        yield Table("io", _COLUMNS.series, rows)

    def close(self) -> None:
        self._reader.close()


PROBE: Final = Probe(
    name="io",
    summary="read and write calls, and bytes from and to storage",
    start=_RunningIo,
    series=_COLUMNS.series,
    cost="1 ms for 110 namespaces; 60 ns at the end of each thread",
    capabilities=EBPF,
)
