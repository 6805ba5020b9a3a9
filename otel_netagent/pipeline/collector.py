"""Collecting numbers: one Snapshot an interval, handed to every output that wants it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from otel_netagent.identity.registry import Registry
from otel_netagent.kernel.libbpf import BpfError
from otel_netagent.kernel.namespaces import Namespace, NamespaceWalk
from otel_netagent.kernel.procfs import MalformedTable
from otel_netagent.probing.declaration import RunningProbe
from otel_netagent.telemetry.snapshot import HistogramTable, Snapshot, Table

logger = logging.getLogger(__name__)


class Collector:
    """A thread that collects at a steady pace, from its first moment on."""

    def __init__(
        self,
        walk: NamespaceWalk,
        registry: Registry,
        probes: Mapping[str, RunningProbe],
        outputs: Sequence[Callable[[Snapshot], None]],
        interval_s: float,
    ) -> None:
        """Nothing is collected before `start`."""
        self._walk = walk
        self._registry = registry
        self._probes = probes
        self._outputs = outputs
        self._interval_s = interval_s
        self._failing: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    def start(self) -> None:
        """Begin to collect."""
        self._thread.start()

    def stop(self) -> None:
        """End, when the collection that is under way is done."""
        self._stopping.set()
        self._thread.join()

    def collect(self) -> Snapshot:
        """All numbers of this moment. Raises BpfError where the namespaces cannot be walked."""
        time_ns = time.time_ns()
        namespaces = self._walk.take()
        entities = self._registry.update(namespaces)
        found = [table for name in self._probes for table in self._tables(name, namespaces)]
        tables = tuple(table for table in found if isinstance(table, Table))
        histograms = tuple(table for table in found if isinstance(table, HistogramTable))
        return Snapshot(time_ns, entities, tables, histograms)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            self._collect_for_outputs()
            # A collection that took too long leaves out those that it ran over.
            due = max(due + self._interval_s, time.monotonic())

    def _collect_for_outputs(self) -> None:
        try:
            snapshot = self.collect()
        except BpfError as error:
            self._note_failure("the walk over the namespaces", error)
            return
        self._failing.discard("the walk over the namespaces")
        for output in self._outputs:
            output(snapshot)

    def _tables(self, probe: str, namespaces: Sequence[Namespace]) -> Iterator[Table | HistogramTable]:
        """Tables of one probe; one that fails leaves a gap in its own series and nowhere else."""
        try:
            yield from list(self._probes[probe].collect(namespaces))
        except (BpfError, MalformedTable, OSError) as error:
            self._note_failure(probe, error)
        else:
            self._failing.discard(probe)

    def _note_failure(self, what: str, error: Exception) -> None:
        """Say it once, not at each interval."""
        if what not in self._failing:
            self._failing.add(what)
            logger.error("%s cannot be collected: %s", what, error)
