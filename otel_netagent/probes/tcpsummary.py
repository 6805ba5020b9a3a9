"""TCP sockets of each namespace by state, bytes in their queues, and the accept queues of listening ports.

Every socket counts once, whoever holds it: also those that no process has a descriptor of. bpf/tcpsummary.bpf.c tells
how they are found, and why so.
"""

from __future__ import annotations

import logging
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from otel_netagent.kernel import procfs
from otel_netagent.kernel.bpf_object import BpfObject
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.kernel.tcp_table import State, TcpSocket, parse_tcp_table
from otel_netagent.probing.declaration import Environment, EventSource, Probe
from otel_netagent.probing.per_namespace import read_each
from otel_netagent.probing.reading import PROCFS, start_reader
from otel_netagent.telemetry.series import Kind, Series
from otel_netagent.telemetry.snapshot import RowKey, Table, Values
from otel_netagent.telemetry.status import HookStatus

logger = logging.getLogger(__name__)

PORTS_MAX: Final = 32
"""Listening ports of a namespace that have a series of their own, lowest first; the rest is `port="other"`."""

_OTHER: Final = "other"


def _gauge(name: str, unit: str, meaning: str, labels: tuple[str, ...] = ()) -> Series:
    source = "every TCP socket of the namespace, IPv4 and IPv6"
    return Series(f"inspector_pod_tcpsummary{name}", Kind.GAUGE, unit, meaning, source, labels)


_SUMS: Final = (
    _gauge("tcpestablishedconn", "{connection}", "connections in ESTABLISHED, accepted or not"),
    _gauge("tcptimewaitconn", "{connection}", "connections in TIME_WAIT"),
    _gauge("tcpclosewaitconn", "{connection}", "connections in CLOSE_WAIT: the program has not closed its side yet"),
    _gauge("tcpsynsentconn", "{connection}", "connections in SYN_SENT: unanswered so far"),
    _gauge("tcpsynrecvconn", "{connection}", "connections in SYN_RECV: half open"),
    _gauge("tcptxqueue", "By", "bytes in the send queues of ESTABLISHED connections"),
    _gauge("tcprxqueue", "By", "bytes in the receive queues of ESTABLISHED connections"),
)
"""In the order of the fields of Connections."""

_LISTEN_PORTS: Final = _gauge("tcplistenports", "{port}", "ports listened at")
_BACKLOG: Final = _gauge(
    "tcplistenbacklog", "{connection}", "connections that wait to be accepted, by listening port", ("port",)
)
_BACKLOG_LIMIT: Final = _gauge(
    "tcplistenbackloglimit", "{connection}", "connections that may wait to be accepted, by listening port", ("port",)
)


class Connections(NamedTuple):
    """Sums over the sockets of a namespace: numbers of sockets, and bytes (`struct connections`)."""

    established: int = 0
    time_wait: int = 0
    close_wait: int = 0
    syn_sent: int = 0
    syn_recv: int = 0
    unsent: int = 0
    unread: int = 0


_NO_CONNECTIONS: Final = Connections()


class AcceptQueue(NamedTuple):
    """Connections that wait at a port to be accepted, and how many may; of several sockets together.

    `limit` is -1 where it cannot be known.
    """

    waiting: int
    limit: int


@dataclass(frozen=True, slots=True)
class Sockets:
    """Those of one moment: by namespace, and by namespace and port."""

    connections: Mapping[int, Connections]
    accept_queues: Mapping[tuple[int, int], AcceptQueue]


class _Reader(Protocol):
    def read(self, namespaces: Iterable[Namespace]) -> Sockets:
        """All sockets of these namespaces now, by inode; maybe of others too."""

    def close(self) -> None:
        """Leave nothing in the kernel."""


class _HashTable(NamedTuple):
    """`struct hash_table`."""

    address: int
    words: int
    bucket_words: int
    head_word: int
    listening: int


class KernelSockets:
    """One pass over the kernel's hash tables of sockets (bpf/tcpsummary.bpf.c)."""

    way: Final = "iter/bpf_map_elem"
    _table: Final = struct.Struct("=QQIII4x")
    _inode: Final = struct.Struct("=I")
    _connections: Final = struct.Struct("=7Q")
    _port: Final = struct.Struct("=II")
    _accept_queue: Final = struct.Struct("=QQ")

    _READING_WORDS: Final = 256 * 512
    """SLICES times SLICE_WORDS: what one reading goes over. Between two of them the CPU is free for others."""

    _TRIES: Final = 3

    def __init__(self, kernel: KernelFacts) -> None:
        """Load and attach. Raises BpfError."""
        self._object = BpfObject(kernel.objects / "tcpsummary.bpf.o", ("find_tables", "count_sockets"))
        try:
            self._object.load()
            self._find_tables = self._object.attach_iterator("find_tables")
            self._count_sockets = self._object.attach_iterator("count_sockets", over="slices")
        except BaseException:
            self._object.close()
            raise
        self._variables = {name: self._object.variable(f"table_{name}") for name in _HashTable._fields}
        self._first_word = self._object.variable("first_word")
        self._strayed = self._object.variable("strayed")
        self._uncounted = self._object.variable("uncounted")
        self._full = False
        self._sums = self._object.map("connections")
        self._queues = self._object.map("accept_queues")

    def read(self, _namespaces: Iterable[Namespace]) -> Sockets:
        """All sockets of the node now. Raises BpfError."""
        for _ in range(self._TRIES):
            strayed = self._strayed[0]
            for table in self._tables():
                self._walk(table)
            sockets = self._take()
            if self._strayed[0] == strayed:
                break
        self._tell_uncounted()
        return sockets

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._object.close()

    def _tell_uncounted(self) -> None:
        """Say it, once until the agent is started again."""
        if self._uncounted[0] and not self._full:
            self._full = True
            logger.warning("tcpsummary: more namespaces or listening ports than there is room for: some are left out")

    def _tables(self) -> set[_HashTable]:
        """Each once, though many processes, and the tables of several namespaces in part, lead to it."""
        return set(map(_HashTable._make, self._table.iter_unpack(self._find_tables.read())))

    def _walk(self, table: _HashTable) -> None:
        for variable, value in zip(self._variables.values(), table, strict=True):
            variable[0] = value
        for first_word in range(0, table.words, self._READING_WORDS):
            self._first_word[0] = first_word
            self._count_sockets.read()

    def _take(self) -> Sockets:
        inodes, sums = self._sums.take_all()
        ports, queues = self._queues.take_all()
        each_sum = map(Connections._make, self._connections.iter_unpack(sums))
        each_queue = map(AcceptQueue._make, self._accept_queue.iter_unpack(queues))
        return Sockets(
            {inode: sum_ for (inode,), sum_ in zip(self._inode.iter_unpack(inodes), each_sum, strict=True)},
            dict(zip(self._port.iter_unpack(ports), each_queue, strict=True)),
        )


class ProcfsSockets:
    """The same by /proc/PID/net/tcp and tcp6, but for the limits of accept queues, which these do not tell."""

    def __init__(self, proc: Path = procfs.PROC) -> None:
        """Learn which tables there are: where IPv6 is off there is no tcp6."""
        self._tables = [table for table in ("tcp", "tcp6") if (proc / "self/net" / table).exists()]

    def read(self, namespaces: Iterable[Namespace]) -> Sockets:
        """All sockets of these namespaces now."""
        sockets: dict[int, list[TcpSocket]] = {}
        for table in self._tables:
            for namespace, text in read_each(namespaces, table):
                sockets.setdefault(namespace.inode, []).extend(parse_tcp_table(text, table))
        queues: Counter[tuple[int, int]] = Counter()
        for inode, socket in ((inode, socket) for inode, each in sockets.items() for socket in each):
            if socket.state == State.LISTEN:
                queues[inode, socket.port] += socket.unread
        return Sockets(
            {inode: _sum(each) for inode, each in sockets.items()},
            {key: AcceptQueue(waiting, -1) for key, waiting in queues.items()},
        )

    def close(self) -> None:
        """Nothing is held."""


def _sum(sockets: Iterable[TcpSocket]) -> Connections:
    states: Counter[int] = Counter()
    unsent = unread = 0
    for socket in sockets:
        states[socket.state] += 1
        if socket.state == State.ESTABLISHED:
            unsent += socket.unsent
            unread += socket.unread
    return Connections(
        established=states[State.ESTABLISHED],
        time_wait=states[State.TIME_WAIT],
        close_wait=states[State.CLOSE_WAIT],
        syn_sent=states[State.SYN_SENT],
        syn_recv=states[State.SYN_RECV],
        unsent=unsent,
        unread=unread,
    )


class _RunningTcpSummary:
    event_source: EventSource | None = None

    def __init__(self, environment: Environment) -> None:
        self._reader: _Reader
        self._reader, hook = start_reader(
            environment, "all TCP sockets", KernelSockets.way, KernelSockets, ProcfsSockets
        )
        self._has_limits = hook.way != PROCFS
        limits = HookStatus("limits of accept queues", hook.way if self._has_limits else None, hook.refused)
        self.hooks: tuple[HookStatus, ...] = (hook, limits)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        inodes = [namespace.inode for namespace in namespaces]
        sockets = self._reader.read(namespaces)
        ports: dict[int, dict[int, AcceptQueue]] = {inode: {} for inode in inodes}
        for (inode, port), queue in sockets.accept_queues.items():
            if inode in ports:
                ports[inode][port] = queue
        rows: dict[RowKey, Values] = {(inode, ()): sockets.connections.get(inode, _NO_CONNECTIONS) for inode in inodes}
        yield Table("tcpsummary", _SUMS, rows)
        yield Table("tcpsummary", (_LISTEN_PORTS,), {(inode, ()): (len(queues),) for inode, queues in ports.items()})
        yield self._listening(ports)

    def close(self) -> None:
        self._reader.close()

    def _listening(self, ports: Mapping[int, Mapping[int, AcceptQueue]]) -> Table:
        rows: dict[RowKey, Values] = {}
        for inode, queues in ports.items():
            for port, queue in _bounded(queues):
                rows[inode, (port,)] = queue if self._has_limits else queue[:1]
        return Table("tcpsummary", (_BACKLOG, _BACKLOG_LIMIT) if self._has_limits else (_BACKLOG,), rows)


def _bounded(queues: Mapping[int, AcceptQueue]) -> Iterator[tuple[str, AcceptQueue]]:
    """The lowest ports each for itself, and what is more taken together."""
    ports = sorted(queues)
    for port in ports[:PORTS_MAX]:
        yield str(port), queues[port]
    if more := [queues[port] for port in ports[PORTS_MAX:]]:
        yield _OTHER, AcceptQueue._make(map(sum, zip(*more, strict=True)))


PROBE: Final = Probe(
    name="tcpsummary",
    summary="TCP sockets by state, bytes in their queues, accept queues by port",
    start=_RunningTcpSummary,
    series=(*_SUMS, _LISTEN_PORTS, _BACKLOG, _BACKLOG_LIMIT),
)
