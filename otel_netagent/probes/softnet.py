"""The receive path of the node's CPUs: packets processed and dropped, and times that the work was cut short.

The kernel has one table for all namespaces, so this is reported once, as the host's. Costs one short read.
"""

from __future__ import annotations

import os
from typing import Final

from otel_netagent.kernel.proc import files
from otel_netagent.kernel.proc.softnet import Softnet, parse_softnet
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Values
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.columns import Column, Columns
from otel_netagent.probing.declaration import Environment, Probe
from otel_netagent.probing.monotonic import Monotonic
from otel_netagent.probing.node import RunningNodeProbe


def _counter(name: str, field: str, unit: str, meaning: str) -> Column[str]:
    column = Softnet._fields.index(field) + 1
    source = f"/proc/net/softnet_stat, column {column}, all CPUs; of the node, shown as the host's"
    return Column(field, Series(f"inspector_pod_softnet{name}", Kind.COUNTER, unit, meaning, source))


_COLUMNS: Final = Columns(
    _counter("processed", "processed", "{packet}", "packets that all CPUs took from devices and backlogs"),
    _counter("dropped", "dropped", "{packet}", "packets dropped because a CPU's backlog was full"),
    _counter(
        "timesqueeze", "time_squeeze", "1", "times a CPU ran out of budget or time before it had received everything"
    ),
)


class _Reader:
    """Sums the CPUs. The kernel's counters have 32 bits, which a busy CPU fills within hours."""

    def __init__(self) -> None:
        self._cpus: dict[int, Values] = {}
        self._sum = Monotonic[None, int](len(_COLUMNS.fields), overflowing=True)

    def read(self) -> Values:
        text = files.read_net(os.getpid(), "softnet_stat")
        if not text:
            raise Unavailable("/proc/net/softnet_stat cannot be read")
        # A CPU that is offline has no row, and goes on where it was when it is back.
        self._cpus |= {cpu: _COLUMNS.row(counters) for cpu, counters in parse_softnet(text).items()}
        return self._sum.totals({None: dict(self._cpus)})[None]


def _start(_environment: Environment) -> RunningNodeProbe:
    reader = _Reader()
    reader.read()
    return RunningNodeProbe("softnet", _COLUMNS.series, "the receive path of all CPUs", reader.read)


PROBE: Final = Probe(
    name="softnet",
    summary="packets that the node's CPUs received and dropped",
    start=_start,
    series=_COLUMNS.series,
    cost="one file of procfs",
)
