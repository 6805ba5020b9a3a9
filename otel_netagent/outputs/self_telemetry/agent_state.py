"""The state of the agent at one moment, and the totals of its deliveries across configurations."""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from otel_netagent.identity.entity import Entity
from otel_netagent.identity.kubernetes.watch_condition import OFF, WatchCondition
from otel_netagent.model.probe_status import ProbeStatus
from otel_netagent.outputs.sending import Delivery, DeliveryStatistics


@dataclass(frozen=True, slots=True)
class AgentState:
    """State of the agent; counts are since its start.

    `deliveries` has the name of each as key ("OTLP logs"). `discarded_records` came from ring buffers and could not be
    decoded. `lost_event_lines` and `lost_log_lines` were not written to standard error.
    """

    probes: Sequence[ProbeStatus] = ()
    entities: Mapping[int, Entity] = field(default_factory=dict)
    deliveries: Mapping[str, DeliveryStatistics] = field(default_factory=dict)
    discarded_records: int = 0
    lost_event_lines: int = 0
    lost_log_lines: int = 0
    kubernetes: WatchCondition = OFF


class DeliveryTotals:
    """Statistics of deliveries by name, including those that ended with an earlier configuration."""

    def __init__(self) -> None:
        """Nothing has been delivered."""
        # Together, so that whoever reads meanwhile counts a delivery that ends once.
        self._counted: tuple[Mapping[str, DeliveryStatistics], Sequence[Delivery[Any]]] = {}, ()

    def follow(self, deliveries: Sequence[Delivery[Any]]) -> None:
        """Go over to these; of those until now the others have ended, and count no more."""
        ended, before = self._counted
        last = {each.name: each.statistics for each in before if each not in deliveries}
        last = {name: replace(statistics, queued=0, spool_bytes=0) for name, statistics in last.items()}
        self._counted = _added(ended, last), deliveries

    def read(self) -> Mapping[str, DeliveryStatistics]:
        """The sums of this moment, by the names of the deliveries."""
        ended, running = self._counted
        return _added(ended, {delivery.name: delivery.statistics for delivery in running})


def _added(
    ended: Mapping[str, DeliveryStatistics], running: Mapping[str, DeliveryStatistics]
) -> Mapping[str, DeliveryStatistics]:
    both = {name: _sum(statistics, running[name]) for name, statistics in ended.items() if name in running}
    return {**ended, **running, **both}


def _sum(ended: DeliveryStatistics, running: DeliveryStatistics) -> DeliveryStatistics:
    return replace(
        running,
        delivered=ended.delivered + running.delivered,
        failed_tries=ended.failed_tries + running.failed_tries,
        dropped={cause: ended.dropped[cause] + count for cause, count in running.dropped.items()},
        dropped_by_pod=Counter(ended.dropped_by_pod) + Counter(running.dropped_by_pod),
    )


def cpu_seconds() -> Mapping[str, float]:
    """CPU time of this process so far, by the values of `cpu.mode` (semantic conventions, "CPU metrics")."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"user": usage.ru_utime, "system": usage.ru_stime}


def resident_bytes() -> int:
    """Memory of this process that is in RAM (proc(5), /proc/PID/statm, second field, in pages)."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
