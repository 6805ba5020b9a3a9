"""TCP sockets of each namespace, and what the whole node has of them.

Of the numbers of /proc/PID/net/sockstat, `orphan`, `alloc` and `mem` are the node's, repeated by the kernel in every
namespace (sockstat_seq_show in net/ipv4/proc.c: they have no namespace): they are told once, as the host's.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.kernel.sockstat import parse_sockstat
from otel_netagent.probing.declaration import Environment, EventSource, Probe
from otel_netagent.probing.node import NodeRow
from otel_netagent.probing.per_namespace import read_each
from otel_netagent.telemetry.series import Kind, Series
from otel_netagent.telemetry.snapshot import RowKey, Table, Values
from otel_netagent.telemetry.status import HookStatus


def _gauge(name: str, unit: str, meaning: str, source: str) -> Series:
    return Series(f"inspector_pod_sock{name}", Kind.GAUGE, unit, meaning, source)


_OF_NODE: Final = "of the node, shown as the host's"
_NAMESPACE_COLUMNS: Final = (
    _gauge("inuse", "{socket}", "TCP sockets in use", "/proc/PID/net/sockstat{,6} inuse, IPv4 and IPv6"),
    _gauge("tw", "{socket}", "TIME_WAIT sockets", "/proc/PID/net/sockstat tw, IPv4 and IPv6"),
)
_NODE_COLUMNS: Final = (
    _gauge(
        "orphan", "{socket}", "TCP sockets that no process holds any more", f"/proc/net/sockstat orphan; {_OF_NODE}"
    ),
    _gauge("alloc", "{socket}", "TCP sockets allocated", f"/proc/net/sockstat alloc; {_OF_NODE}"),
    _gauge("mem", "{page}", "pages of TCP buffers", f"/proc/net/sockstat mem; {_OF_NODE}"),
)


class _RunningSock:
    hooks: Final = (HookStatus("sockets of every namespace", "procfs"),)
    event_source: EventSource | None = None

    def __init__(self) -> None:
        self._node_row = NodeRow()
        self._has_ipv6 = Path("/proc/self/net/sockstat6").exists()

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        walked = list(namespaces)
        ipv6 = self._ipv6_in_use(walked)
        rows: dict[RowKey, Values] = {}
        of_node: Values | None = None
        for namespace, text in read_each(walked, "sockstat"):
            tcp = parse_sockstat(text, "sockstat")["TCP"]
            rows[namespace.inode, ()] = (tcp["inuse"] + ipv6.get(namespace.inode, 0), tcp["tw"])
            of_node = (tcp["orphan"], tcp["alloc"], tcp["mem"])
        yield Table("sock", _NAMESPACE_COLUMNS, rows)
        if of_node is not None:
            yield Table("sock", _NODE_COLUMNS, self._node_row.of(of_node, walked))

    def close(self) -> None:
        """Nothing is held."""

    def _ipv6_in_use(self, namespaces: Iterable[Namespace]) -> dict[int, int]:
        if not self._has_ipv6:
            return {}
        texts = read_each(namespaces, "sockstat6")
        return {namespace.inode: parse_sockstat(text, "sockstat6")["TCP6"]["inuse"] for namespace, text in texts}


def _start(_environment: Environment) -> _RunningSock:
    return _RunningSock()


PROBE: Final = Probe(
    name="sock",
    summary="TCP sockets in use, and the buffers and orphans of the node",
    start=_start,
    series=_NAMESPACE_COLUMNS + _NODE_COLUMNS,
)
