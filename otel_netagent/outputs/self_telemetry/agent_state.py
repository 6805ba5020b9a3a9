"""What the agent knows of its own condition at one moment, and the deliveries of all its configurations."""

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
from otel_netagent.outputs.sending import Delivery, Tally


@dataclass(frozen=True, slots=True)
class Vitals:
    """State of the agent, its counts since it was started.

    `deliveries` are by what they deliver ("OTLP logs"). `discarded_records` were read from ring buffers and were no
    events, `lost_event_lines` and `lost_log_lines` were not written to standard error.
    """

    probes: Sequence[ProbeStatus] = ()
    entities: Mapping[int, Entity] = field(default_factory=dict)
    deliveries: Mapping[str, Tally] = field(default_factory=dict)
    discarded_records: int = 0
    lost_event_lines: int = 0
    lost_log_lines: int = 0
    kubernetes: WatchCondition = OFF


class Tallies:
    """What deliveries have counted, those before included that another configuration has ended."""

    def __init__(self) -> None:
        """Nothing has been delivered."""
        # Together, so that whoever reads meanwhile counts a delivery that ends once.
        self._counted: tuple[Mapping[str, Tally], Sequence[Delivery[Any]]] = {}, ()

    def follow(self, deliveries: Sequence[Delivery[Any]]) -> None:
        """Go over to these; of those until now the others have ended, and count no more."""
        ended, before = self._counted
        last = {each.name: each.tally for each in before if each not in deliveries}
        last = {name: replace(tally, queued=0, spool_bytes=0) for name, tally in last.items()}
        self._counted = _added(ended, last), deliveries

    def read(self) -> Mapping[str, Tally]:
        """The sums of this moment, by the names of the deliveries."""
        ended, running = self._counted
        return _added(ended, {delivery.name: delivery.tally for delivery in running})


def _added(ended: Mapping[str, Tally], running: Mapping[str, Tally]) -> Mapping[str, Tally]:
    both = {name: _sum(tally, running[name]) for name, tally in ended.items() if name in running}
    return {**ended, **running, **both}


def _sum(ended: Tally, running: Tally) -> Tally:
    return replace(
        running,
        delivered=ended.delivered + running.delivered,
        failed_tries=ended.failed_tries + running.failed_tries,
        let_go={cause: ended.let_go[cause] + count for cause, count in running.let_go.items()},
        let_go_by_pod=Counter(ended.let_go_by_pod) + Counter(running.let_go_by_pod),
    )


def cpu_seconds() -> Mapping[str, float]:
    """CPU time of this process so far, by the values of `cpu.mode` (semantic conventions, "CPU metrics")."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"user": usage.ru_utime, "system": usage.ru_stime}


def resident_bytes() -> int:
    """Memory of this process that is in RAM (proc(5), /proc/PID/statm, second field, in pages)."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
