"""Connection tracking of each namespace: entries, their limit, and what failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from otel_netagent.kernel.namespaces import CONNTRACK, Namespace
from otel_netagent.kernel.proc.conntrack import Conntrack, entries_limit, parse_conntrack
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Table
from otel_netagent.probing.capability import EBPF
from otel_netagent.probing.columns import Column, Columns
from otel_netagent.probing.declaration import Environment, EventSource, Probe
from otel_netagent.probing.monotonic import Monotonic
from otel_netagent.probing.per_namespace import read_each, require
from otel_netagent.probing.walked import start_reader

_TABLE: Final = "stat/nf_conntrack"
_REMEDY: Final = (
    "load nf_conntrack (the agent looks again every minute), or use a kernel with CONFIG_NF_CONNTRACK_PROCFS"
)


class _Occupancy(NamedTuple):
    """Entries of a namespace, and how many it may have."""

    entries: int
    nf_conntrack_max: int


def _gauge(name: str, field: str, meaning: str, source: str) -> Column[str]:
    return Column(field, Series(f"inspector_pod_conntrack{name}", Kind.GAUGE, "{entry}", meaning, source))


def _counter(name: str, field: str, meaning: str) -> Column[str]:
    source = f"/proc/PID/net/{_TABLE} {field}, all CPUs"
    return Column(field, Series(f"inspector_pod_conntrack{name}", Kind.COUNTER, "1", meaning, source))


_GAUGES: Final = Columns(
    _gauge("entries", "entries", "tracked connections now", f"/proc/PID/net/{_TABLE} entries"),
    _gauge(
        "maxentries",
        "nf_conntrack_max",
        "limit of tracked connections, of each namespace",
        "net.netfilter.nf_conntrack_max, one for the whole kernel",
    ),
)
_COUNTERS: Final = Columns(
    _counter("found", "found", "lookups that found an entry (newer kernels: only of translated addresses)"),
    _counter("insert", "insert", "entries inserted (newer kernels do not count it)"),
    _counter("invalid", "invalid", "packets that could not be tracked and were not dropped"),
    _counter("ignore", "ignore", "packets for which tracking was skipped (newer kernels do not count it)"),
    _counter("insertfailed", "insert_failed", "insertions that failed (duplicate, full)"),
    _counter("drop", "drop", "packets dropped because tracking failed"),
    _counter("earlydrop", "early_drop", "entries evicted to make room"),
    _counter("searchrestart", "search_restart", "lookups restarted"),
    _counter("error", "icmp_error", "ICMP errors that could not be related"),
)


class _RunningConntrack:
    event_source: EventSource | None = None

    def __init__(self, environment: Environment) -> None:
        purpose = "connection tracking of every namespace"
        self._read, hook = start_reader(environment, purpose, CONNTRACK, Conntrack, _by_procfs)
        if self._read is _by_procfs:
            require(_TABLE, _REMEDY)
        self.hooks = (hook,)
        # The kernel's counters have 32 bits; a sum of several falls by as much as one when that is full.
        self._counters = Monotonic[int, None](len(_COUNTERS.fields), overflowing=True)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        limit = entries_limit()
        read = {namespace.cookie: stats for namespace, stats in self._read(namespaces)}
        occupancies = {(cookie, ()): _Occupancy(stats.entries, limit) for cookie, stats in read.items()}
        yield Table("conntrack", _GAUGES.series, {key: _GAUGES.row(each) for key, each in occupancies.items()})
        totals = self._counters.totals({key: {None: _COUNTERS.row(stats)} for key, stats in read.items()})
        yield Table("conntrack", _COUNTERS.series, {(cookie, ()): total for cookie, total in totals.items()})

    def close(self) -> None:
        """Nothing is held."""


def _by_procfs(namespaces: Iterable[Namespace]) -> Iterator[tuple[Namespace, Conntrack]]:
    return ((namespace, parse_conntrack(text, _TABLE)) for namespace, text in read_each(namespaces, _TABLE))


PROBE: Final = Probe(
    name="conntrack",
    summary="tracked connections, their limit, and why tracking failed",
    start=_RunningConntrack,
    series=_GAUGES.series + _COUNTERS.series,
    cost="in the one pass over the namespaces; 0.4 ms for 110 of them",
    capabilities=EBPF,
)
