"""Root queueing disciplines of each namespace's devices: sent, dropped, waiting.

They are visible only within the namespace (tc_dump_qdisc in net/sched/sch_api.c has no IFLA_TARGET_NETNSID), so the
collecting thread enters each, asks, and leaves nothing there. A pod's veth has no queue unless one is set up (bandwidth
limits): a namespace that the walk sees to have none is not entered. Opt-in, since it needs CAP_SYS_ADMIN. Sums
never go back: what a qdisc that is replaced or a device that is removed has counted, stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final

from otel_netagent.kernel.entering import Visit
from otel_netagent.kernel.namespaces import QUEUES, Namespace
from otel_netagent.kernel.qdiscs import Qdisc, QdiscId, root_qdiscs
from otel_netagent.model.probe_status import HookStatus
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Table, Values
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.capability import Capability
from otel_netagent.probing.columns import Column, Columns
from otel_netagent.probing.declaration import Environment, EventSource, Probe
from otel_netagent.probing.monotonic import Monotonic
from otel_netagent.probing.per_namespace import others_in


def _column(kind: Kind, field: str, unit: str, meaning: str) -> Column[str]:
    source = f"RTM_GETQDISC {field} in each namespace, root qdiscs of all devices but lo"
    return Column(field, Series(f"inspector_pod_qdisc{field}", kind, unit, meaning, source))


_COUNTERS: Final = Columns(
    _column(Kind.COUNTER, "bytes", "By", "bytes that went through"),
    _column(Kind.COUNTER, "packets", "{packet}", "packets that went through"),
    _column(Kind.COUNTER, "drops", "{packet}", "packets dropped, most often because the queue was full"),
    _column(Kind.COUNTER, "overlimits", "1", "times that a packet had to wait for the rate that is allowed"),
)
_GAUGES: Final = Columns(
    _column(Kind.GAUGE, "qlen", "{packet}", "packets that wait now"),
    _column(Kind.GAUGE, "backlog", "By", "bytes that wait now"),
)
_NO_QUEUE: Final = (0,) * len(_GAUGES.fields)


class _RunningQdisc:
    hooks: Final = (HookStatus("root qdiscs of every namespace", "rtnetlink"),)
    event_source: EventSource | None = None

    def __init__(self, environment: Environment) -> None:
        self._counters = Monotonic[int, QdiscId](len(_COUNTERS.fields))
        self._queues = environment.walk.walk.positions.get((QUEUES, "any"))

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        read = self._read_each(namespaces)
        totals = self._counters.totals({key: _counters(qdiscs) for key, qdiscs in read.items()})
        yield Table("qdisc", _COUNTERS.series, {(cookie, ()): total for cookie, total in totals.items()})
        yield Table("qdisc", _GAUGES.series, {(cookie, ()): _waiting(qdiscs) for cookie, qdiscs in read.items()})

    def close(self) -> None:
        """Nothing is held."""

    def _read_each(self, namespaces: Iterable[Namespace]) -> dict[int, Mapping[QdiscId, Qdisc]]:
        found: dict[int, Mapping[QdiscId, Qdisc]] = {}
        with Visit() as visit:
            for namespace in namespaces:
                if self._queues is not None and not namespace.counters[self._queues]:
                    found[namespace.cookie] = {}
                elif _entered(visit, namespace):
                    found[namespace.cookie] = root_qdiscs()
        return found


def _entered(visit: Visit, namespace: Namespace) -> bool:
    return any(visit.enter(pid, namespace.inode) for pid in chain((namespace.pid,), others_in(namespace)))


def _counters(qdiscs: Mapping[QdiscId, Qdisc]) -> dict[QdiscId, Values]:
    return {key: _COUNTERS.row(qdisc) for key, qdisc in qdiscs.items()}


def _waiting(qdiscs: Mapping[QdiscId, Qdisc]) -> Values:
    return tuple(map(sum, zip(_NO_QUEUE, *map(_GAUGES.row, qdiscs.values()), strict=True)))


def _start(environment: Environment) -> _RunningQdisc:
    try:
        with Visit():
            pass  # to come home needs what it takes to go
    except PermissionError as error:
        raise Unavailable(f"namespaces may not be entered ({error.strerror}): give the agent CAP_SYS_ADMIN") from error
    return _RunningQdisc(environment)


PROBE: Final = Probe(
    name="qdisc",
    summary="bytes, packets, drops and backlog of the queues before network devices",
    start=_start,
    series=_COUNTERS.series + _GAUGES.series,
    cost="0.5 ms for 110 namespaces of which few have a queue; 80 us for each that has",
    capabilities=(Capability.SYS_ADMIN,),
    opt_in="needs CAP_SYS_ADMIN, to enter namespaces",
)
