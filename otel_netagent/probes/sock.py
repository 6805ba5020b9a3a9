"""TCP sockets of each namespace, and what the whole node has of them.

Of the numbers of /proc/PID/net/sockstat, `orphan`, `alloc` and `mem` are the node's, repeated by the kernel in every
namespace (sockstat_seq_show in net/ipv4/proc.c: they have no namespace): they are reported once, as the host's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from otel_netagent.kernel.namespaces import SOCKETS, Namespace
from otel_netagent.kernel.proc import files
from otel_netagent.kernel.proc.sockstat import parse_sockstat
from otel_netagent.model.probe_status import HookStatus
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import RowKey, Table, Values
from otel_netagent.probing.capability import EBPF
from otel_netagent.probing.columns import Column, Columns
from otel_netagent.probing.declaration import Environment, EventSource, Probe
from otel_netagent.probing.node import NodeRow
from otel_netagent.probing.per_namespace import read_each
from otel_netagent.probing.reading import PROCFS
from otel_netagent.probing.walked import start_reader


class _Sockets(NamedTuple):
    """Those of a namespace: in use of IPv4, of IPv6, and TIME_WAIT of both (`struct socket_counters`)."""

    tcp: int
    tcp6: int
    time_wait: int

    @property
    def inuse(self) -> int:
        """Of both families."""
        return self.tcp + self.tcp6


class _NodeSockets(NamedTuple):
    """Those of the node, as /proc/net/sockstat calls them."""

    orphan: int
    alloc: int
    mem: int


def _gauge(field: str, name: str, unit: str, meaning: str, source: str) -> Column[str]:
    return Column(field, Series(f"inspector_pod_sock{name}", Kind.GAUGE, unit, meaning, source))


def _node_gauge(field: str, unit: str, meaning: str) -> Column[str]:
    return _gauge(field, field, unit, meaning, f"/proc/net/sockstat {field}; of the node, shown as the host's")


_IN_NAMESPACE: Final = Columns(
    _gauge("inuse", "inuse", "{socket}", "TCP sockets in use", "/proc/PID/net/sockstat{,6} inuse, IPv4 and IPv6"),
    _gauge("time_wait", "tw", "{socket}", "TIME_WAIT sockets", "/proc/PID/net/sockstat tw, IPv4 and IPv6"),
)
_OF_NODE: Final = Columns(
    _node_gauge("orphan", "{socket}", "TCP sockets that no process holds any more"),
    _node_gauge("alloc", "{socket}", "TCP sockets allocated"),
    _node_gauge("mem", "{page}", "pages of TCP buffers"),
)

_SOCKSTAT6: Final = files.PROC / "self/net/sockstat6"


class _RunningSock:
    event_source: EventSource | None = None

    def __init__(self, environment: Environment) -> None:
        self._node_row = NodeRow()
        self._read, hook = start_reader(environment, "sockets of every namespace", SOCKETS, _Sockets, _by_procfs)
        self.hooks = (hook, HookStatus("sockets of the node", PROCFS))

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        walked = list(namespaces)
        rows: dict[RowKey, Values] = {
            (namespace.cookie, ()): _IN_NAMESPACE.row(sockets) for namespace, sockets in self._read(walked)
        }
        yield Table("sock", _IN_NAMESPACE.series, rows)
        if text := files.read_net(os.getpid(), "sockstat"):
            yield Table("sock", _OF_NODE.series, self._node_row.of(_OF_NODE.row(_of_node(text)), walked))

    def close(self) -> None:
        """Nothing is held."""


def _of_node(text: str) -> _NodeSockets:
    tcp = parse_sockstat(text, "sockstat")["TCP"]
    return _NodeSockets(orphan=tcp["orphan"], alloc=tcp["alloc"], mem=tcp["mem"])


def _by_procfs(namespaces: Iterable[Namespace]) -> Iterator[tuple[Namespace, _Sockets]]:
    walked = list(namespaces)
    ipv6 = {
        namespace.cookie: parse_sockstat(text, "sockstat6")["TCP6"]["inuse"]
        for namespace, text in (read_each(walked, "sockstat6") if _SOCKSTAT6.exists() else ())
    }
    for namespace, text in read_each(walked, "sockstat"):
        tcp = parse_sockstat(text, "sockstat")["TCP"]
        yield namespace, _Sockets(tcp=tcp["inuse"], tcp6=ipv6.get(namespace.cookie, 0), time_wait=tcp["tw"])


PROBE: Final = Probe(
    name="sock",
    summary="TCP sockets in use, and the buffers and orphans of the node",
    start=_RunningSock,
    series=_IN_NAMESPACE.series + _OF_NODE.series,
    cost="in the one pass over the namespaces; 0.1 ms for 110 of them",
    capabilities=EBPF,
)
