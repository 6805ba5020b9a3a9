"""Bytes, packets, errors and drops of the network interfaces of each namespace.

Device counters are no MIBs: each driver keeps its own and sums them on request (dev_get_stats() in the
kernel), which a program cannot call. /proc/PID/net/dev asks for all devices of a namespace in one read, and
costs less than netlink would, by RTM_GETSTATS from within or RTM_GETLINK by namespace id (bench/netdev.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.kernel.proc import net_dev
from otel_netagent.model.probe_status import HookStatus
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import RowKey, Table, Values
from otel_netagent.probing.columns import Column, Columns
from otel_netagent.probing.declaration import Environment, EventSource, Probe
from otel_netagent.probing.monotonic import Monotonic
from otel_netagent.probing.per_namespace import read_each


def _counter(name: str, field: str, unit: str, meaning: str) -> Column[str]:
    direction, _, column = field.partition("_")
    group = {"rx": "Receive", "tx": "Transmit"}[direction]
    source = f"/proc/PID/net/dev {group} {column}, all interfaces but lo"
    return Column(field, Series(f"inspector_pod_netdev{name}", Kind.COUNTER, unit, meaning, source))


_COLUMNS: Final = Columns(
    _counter("rxbytes", "rx_bytes", "By", "bytes received"),
    _counter("rxpackets", "rx_packets", "{packet}", "packets received"),
    _counter("rxerrors", "rx_errs", "{error}", "receive errors"),
    _counter("rxdropped", "rx_drop", "{packet}", "packets dropped while being received"),
    _counter("txbytes", "tx_bytes", "By", "bytes sent"),
    _counter("txpackets", "tx_packets", "{packet}", "packets sent"),
    _counter("txerrors", "tx_errs", "{error}", "transmit errors"),
    _counter("txdropped", "tx_drop", "{packet}", "packets dropped while being sent"),
)


class _RunningNetDev:
    hooks: Final = (HookStatus("device counters of every namespace", "procfs"),)
    event_source: EventSource | None = None

    def __init__(self) -> None:
        # What an interface has counted stays when it goes: on a node one goes with every pod.
        self._counters = Monotonic[int, str](len(_COLUMNS.fields))

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        read = {namespace.cookie: _interfaces(text) for namespace, text in read_each(namespaces, "dev")}
        totals = self._counters.totals(read)
        rows: dict[RowKey, Values] = {(cookie, ()): values for cookie, values in totals.items()}
        yield Table("netdev", _COLUMNS.series, rows)

    def close(self) -> None:
        """Nothing is held."""


def _interfaces(text: str) -> dict[str, Values]:
    return {name: _COLUMNS.row(counters) for name, counters in net_dev.parse_net_dev(text).items()}


def _start(_environment: Environment) -> _RunningNetDev:
    return _RunningNetDev()


PROBE: Final = Probe(
    name="netdev",
    summary="bytes, packets, errors and drops of network interfaces",
    start=_start,
    series=_COLUMNS.series,
    cost="one file of procfs a namespace: 3.4 ms for 110",
)
