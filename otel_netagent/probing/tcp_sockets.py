"""All TCP sockets of the node by namespace: in one pass in the kernel (bpf/tcpsummary.bpf.c), or from procfs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import Layout, integer
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.kernel.proc import files
from otel_netagent.kernel.proc.tcp_table import State, TcpSocket, parse_tcp_table
from otel_netagent.model.series import Series
from otel_netagent.model.table import Distribution
from otel_netagent.probing.histogram import HistogramReader, set_bounds
from otel_netagent.probing.per_namespace import read_each

logger = logging.getLogger(__name__)


class Connections(NamedTuple):
    """Sums over the sockets of a namespace: numbers of sockets, and bytes (`struct connections`)."""

    established: int = 0
    time_wait: int = 0
    close_wait: int = 0
    syn_sent: int = 0
    syn_recv: int = 0
    unsent: int = 0
    unread: int = 0


NO_CONNECTIONS: Final = Connections()


class AcceptQueue(NamedTuple):
    """Connections that wait at a port to be accepted, and how many may; of several sockets together.

    `limit` is -1 where it cannot be known. The same as `struct accept_queue`.
    """

    waiting: int
    limit: int


@dataclass(frozen=True, slots=True)
class Sockets:
    """Those of one moment: by namespace, and by namespace and port.

    `round_trips` are those of each namespace; empty where they cannot be known.
    """

    connections: Mapping[int, Connections]
    accept_queues: Mapping[tuple[int, int], AcceptQueue]
    round_trips: Mapping[int, Distribution] = field(default_factory=dict)


class SocketReader(Protocol):
    """Reads all sockets."""

    @property
    def uncounted(self) -> int:
        """Sockets, or namespaces and ports, that found no room in the kernel so far."""

    def read(self, namespaces: Iterable[Namespace]) -> Sockets:
        """All sockets of these namespaces now, by inode; maybe of others too."""

    def close(self) -> None:
        """Leave nothing in the kernel."""


class _HashTable(NamedTuple):
    """Members of `struct hash_table`."""

    address: int
    words: int
    bucket_words: int
    head_word: int
    listening: int


class _Port(NamedTuple):
    """Members of `struct port_key`."""

    netns_inode: int
    port: int


class KernelSockets:
    """One pass over the kernel's hash tables of sockets (bpf/tcpsummary.bpf.c)."""

    way: Final = "iter/bpf_map_elem"

    _READING_WORDS: Final = 256 * 512
    """SLICES times SLICE_WORDS: what one reading goes over. Between two of them the CPU is free for others."""

    _TRIES: Final = 3

    def __init__(self, kernel: KernelFacts, round_trips: Series) -> None:
        """Load and attach; round trips are counted in the buckets of the series. Raises BpfError."""
        self._object = BpfObject(kernel.objects / "tcpsummary.bpf.o", ("find_tables", "count_sockets"))
        try:
            set_bounds(self._object, round_trips)
            self._object.load()
            self._find_tables = self._object.attach_iterator("find_tables")
            self._count_sockets = self._object.attach_iterator("count_sockets", over="slices")
            btf = self._object.btf
            self._hash_tables = [
                Layout(btf, "socket_tables", _HashTable, part=part) for part in ("established", "listening")
            ]
            self._connections = Layout(btf, "connections", Connections)
            self._round_trips = HistogramReader(btf, round_trips, "connections", part="round_trips")
            self._port = Layout(btf, "port_key", _Port)
            self._accept_queue = Layout(btf, "accept_queue", AcceptQueue)
        except BaseException:
            self._object.close()
            raise
        self._variables = {name: self._object.variable(f"table_{name}") for name in _HashTable._fields}
        self._first_word = self._object.variable("first_word")
        self._strayed = self._object.variable("strayed")
        self._uncounted = self._object.variable("uncounted")
        self._full = False
        self._sums = self._object.map("connections")
        self._inode = integer(self._sums.key_size)
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
        self._warn_of_uncounted()
        return sockets

    @property
    def uncounted(self) -> int:
        """What found no room in the kernel's maps so far, each time that it was looked at."""
        return self._uncounted[0]

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._object.close()

    def _warn_of_uncounted(self) -> None:
        """Log it, once until the agent is started again."""
        if self._uncounted[0] and not self._full:
            self._full = True
            logger.warning("tcpsummary: more namespaces or listening ports than there is room for: some are left out")

    def _tables(self) -> set[_HashTable]:
        """Each once, though many processes, and the tables of several namespaces in part, lead to it."""
        found = self._find_tables.read()
        return {table for layout in self._hash_tables for table in layout.read_all(found)}

    def _walk(self, table: _HashTable) -> None:
        for variable, value in zip(self._variables.values(), table, strict=True):
            variable[0] = value
        for first_word in range(0, table.words, self._READING_WORDS):
            self._first_word[0] = first_word
            self._count_sockets.read()

    def _take(self) -> Sockets:
        keys, sums = self._sums.take_all()
        ports, queues = self._queues.take_all()
        inodes = [inode for (inode,) in self._inode.iter_unpack(keys)]
        return Sockets(
            dict(zip(inodes, self._connections.read_all(sums), strict=True)),
            dict(zip(self._port.read_all(ports), self._accept_queue.read_all(queues), strict=True)),
            dict(zip(inodes, self._round_trips.each(sums), strict=True)),
        )


class ProcfsSockets:
    """The same from /proc/PID/net/tcp and tcp6, but for round trips and limits of accept queues: these show neither."""

    uncounted: Final = 0

    def __init__(self, proc: Path = files.PROC) -> None:
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
