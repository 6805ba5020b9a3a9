"""TCP sockets of each namespace by state, their queues and round trips, and the accept queues of listening ports.

Every socket counts once, whoever holds it: also those that no process has a descriptor of. bpf/tcpsummary.bpf.c says
how they are found, and why so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.kernel.proc import processes
from otel_netagent.model.probe_status import HookStatus
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import HistogramTable, RowKey, Table, Values
from otel_netagent.probing.accumulated import Accumulated
from otel_netagent.probing.bounded import Bounded, LabelValues
from otel_netagent.probing.capability import EBPF
from otel_netagent.probing.columns import Column, Columns
from otel_netagent.probing.declaration import Environment, EventSource, Probe
from otel_netagent.probing.occurrences import uncounted_table
from otel_netagent.probing.reading import PROCFS, start_reader
from otel_netagent.probing.tcp_sockets import NO_CONNECTIONS, KernelSockets, ProcfsSockets, SocketReader

PORTS_MAX: Final = 32
"""Listening ports of a namespace that have a series of their own; of the others there is one, `port="other"`."""


def _gauge(name: str, unit: str, meaning: str, labels: tuple[str, ...] = ()) -> Series:
    source = "every TCP socket of the namespace, IPv4 and IPv6"
    return Series(f"inspector_pod_tcpsummary{name}", Kind.GAUGE, unit, meaning, source, labels)


def _connections(field: str, name: str, meaning: str) -> Column[str]:
    return Column(field, _gauge(name, "{connection}", meaning))


_SUMS: Final = Columns(
    _connections("established", "tcpestablishedconn", "connections in ESTABLISHED, accepted or not"),
    _connections("time_wait", "tcptimewaitconn", "connections in TIME_WAIT"),
    _connections(
        "close_wait", "tcpclosewaitconn", "connections in CLOSE_WAIT: the program has not closed its side yet"
    ),
    _connections("syn_sent", "tcpsynsentconn", "connections in SYN_SENT: unanswered so far"),
    _connections("syn_recv", "tcpsynrecvconn", "connections in SYN_RECV: half open"),
    Column("unsent", _gauge("tcptxqueue", "By", "bytes in the send queues of ESTABLISHED connections")),
    Column("unread", _gauge("tcprxqueue", "By", "bytes in the receive queues of ESTABLISHED connections")),
)

_ROUND_TRIPS: Final = Series(
    "inspector_pod_tcpsummarytcprtt",
    Kind.HISTOGRAM,
    "s",
    "smoothed round-trip time of each ESTABLISHED connection that has measured one, observed once a collection",
    "tcp_sock.srtt_us, as ss shows it",
    bounds=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""A long connection counts in each collection: it shows what connections have, not how often something is sent."""

_LISTEN_PORTS: Final = _gauge("tcplistenports", "{port}", "ports listened at")


def _of_port(field: str, name: str, meaning: str) -> Column[str]:
    return Column(field, _gauge(name, "{connection}", f"{meaning}, by listening port", ("port",)))


_BACKLOG: Final = _of_port("waiting", "tcplistenbacklog", "connections that wait to be accepted")
_BACKLOGS: Final = Columns(
    _BACKLOG, _of_port("limit", "tcplistenbackloglimit", "connections that may wait to be accepted")
)


class _RunningTcpSummary:
    event_source: EventSource | None = None

    def __init__(self, environment: Environment) -> None:
        self._reader: SocketReader
        self._reader, hook = start_reader(
            environment,
            "all TCP sockets",
            KernelSockets.way,
            lambda kernel: KernelSockets(kernel, _ROUND_TRIPS),
            ProcfsSockets,
        )
        self._in_kernel = hook.way != PROCFS
        self._backlogs = _BACKLOGS if self._in_kernel else Columns(_BACKLOG)
        self._host = processes.host_netns()
        self._ports = Bounded(PORTS_MAX)
        self._round_trips = Accumulated()
        only_in_kernel = ("limits of accept queues", "round-trip times")
        others = (HookStatus(each, hook.way if self._in_kernel else None, hook.refused) for each in only_in_kernel)
        self.hooks: tuple[HookStatus, ...] = (hook, *others)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table | HistogramTable]:
        namespaces = list(namespaces)
        sockets = self._reader.read(namespaces)
        cookies = {each.inode: each.cookie for each in namespaces}
        ports: dict[int, dict[LabelValues, Values]] = {cookie: {} for cookie in cookies.values()}
        for (inode, port), queue in sorted(sockets.accept_queues.items()):
            if inode in cookies:
                ports[cookies[inode]][str(port),] = self._backlogs.row(queue)
        sums = {cookie: sockets.connections.get(inode, NO_CONNECTIONS) for inode, cookie in cookies.items()}
        yield Table("tcpsummary", _SUMS.series, {(cookie, ()): _SUMS.row(each) for cookie, each in sums.items()})
        yield Table("tcpsummary", (_LISTEN_PORTS,), {(cookie, ()): (len(each),) for cookie, each in ports.items()})
        yield self._listening(ports)
        yield uncounted_table("tcpsummary", self._reader.uncounted, namespaces, self._host)
        if self._in_kernel:
            yield HistogramTable("tcpsummary", (_ROUND_TRIPS,), self._round_trips.add(sockets.round_trips, namespaces))

    def close(self) -> None:
        self._reader.close()

    def _listening(self, ports: Mapping[int, Mapping[LabelValues, Values]]) -> Table:
        self._ports.keep_only(ports.keys())
        rows: dict[RowKey, Values] = {}
        for cookie, queues in ports.items():
            rows |= {(cookie, port): row for port, row in self._ports.fold(cookie, queues).items()}
        return Table("tcpsummary", self._backlogs.series, rows)


PROBE: Final = Probe(
    name="tcpsummary",
    summary="TCP sockets by state, bytes in their queues, round-trip times, accept queues by port",
    start=_RunningTcpSummary,
    series=(*_SUMS.series, _ROUND_TRIPS, _LISTEN_PORTS, *_BACKLOGS.series),
    cost="1.4 ms for 110 namespaces, 7 ms for 20,000 sockets",
    capabilities=EBPF,
)
