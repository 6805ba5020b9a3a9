"""What IPVS forwarded in each namespace, where the kernel has it (kube-proxy in IPVS mode: in the host's)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.kernel.proc.ipvs import parse_ipvs_stats
from otel_netagent.model.probe_status import HookStatus
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import RowKey, Table, Values
from otel_netagent.probing.columns import Column, Columns
from otel_netagent.probing.declaration import Environment, EventSource, Probe
from otel_netagent.probing.monotonic import Monotonic
from otel_netagent.probing.per_namespace import read_each, require

_TABLE: Final = "ip_vs_stats"


def _counter(name: str, field: str, unit: str, meaning: str) -> Column[str]:
    source = f"/proc/PID/net/{_TABLE} (ip_vs_kstats.{field})"
    return Column(field, Series(f"inspector_pod_ipvs{name}", Kind.COUNTER, unit, meaning, source))


_COLUMNS: Final = Columns(
    _counter("connections", "conns", "{connection}", "connections that IPVS scheduled"),
    _counter("incomingpackets", "inpkts", "{packet}", "packets to the servers behind IPVS"),
    _counter("outgoingpackets", "outpkts", "{packet}", "packets from the servers behind IPVS"),
    _counter("incomingbytes", "inbytes", "By", "bytes to the servers behind IPVS"),
    _counter("outgoingbytes", "outbytes", "By", "bytes from the servers behind IPVS"),
)


class _RunningIpvs:
    hooks: Final = (HookStatus("IPVS of every namespace", "procfs"),)
    event_source: EventSource | None = None

    def __init__(self) -> None:
        # ipvsadm --zero sets them to 0.
        self._totals = Monotonic[int, None](len(_COLUMNS.fields))

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        readings = {
            namespace.cookie: {None: _COLUMNS.row(parse_ipvs_stats(text, _TABLE))}
            for namespace, text in read_each(namespaces, _TABLE)
        }
        rows: dict[RowKey, Values] = {(cookie, ()): totals for cookie, totals in self._totals.totals(readings).items()}
        yield Table("ipvs", _COLUMNS.series, rows)

    def close(self) -> None:
        """Nothing is held."""


def _start(_environment: Environment) -> _RunningIpvs:
    require(_TABLE, "this kernel has no IPVS, or its module ip_vs is not loaded")
    return _RunningIpvs()


PROBE: Final = Probe(
    name="ipvs",
    summary="connections, packets and bytes that IPVS forwarded",
    start=_start,
    series=_COLUMNS.series,
    cost="one file of procfs a namespace",
    opt_in="few kernels have IPVS",
)
