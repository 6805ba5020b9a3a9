"""Collecting numbers: one Snapshot an interval, handed to every output that wants it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.identity.registry import Registry
from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.namespaces import Namespace, NamespaceWalk
from otel_netagent.kernel.proc.files import MalformedTable
from otel_netagent.model.table import HistogramTable, Table
from otel_netagent.open_files import explained
from otel_netagent.pipeline.periodic_worker import PeriodicWorker
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import RunningProbe

logger = logging.getLogger(__name__)

_WALK: Final = "the walk over the namespaces"


class Collector:
    """A thread that collects at a steady pace, from its first moment on.

    While it is paused, its `probes`, `outputs` and `interval_s` may be set. `took` is called with the duration of each
    collection in seconds.
    """

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
        self.probes = probes
        self.outputs = outputs
        self.interval_s = interval_s
        self.took: Callable[[float], None] = lambda _: None
        self._failing: set[str] = set()
        self._worker = PeriodicWorker("collector", self._collect_for_outputs)

    def start(self) -> None:
        """Begin to collect, for the first time or after a pause."""
        self._failing &= {_WALK, *self.probes}  # one that was away may log its failure again
        self._worker.go(self.interval_s)

    def pause(self) -> None:
        """Stop collecting until `start`, and wait for the collection that is under way."""
        self._worker.pause()

    def stop(self) -> None:
        """End, when the collection that is under way is done."""
        self._worker.stop()

    def collect(self) -> Snapshot:
        """All numbers, as of now. Raises BpfError or OSError where the namespaces cannot be walked."""
        time_ns = time.time_ns()
        namespaces = self._walk.take()
        entities = self._registry.update(namespaces)
        tables = (table for name in self.probes for table in self._tables(name, namespaces))
        return Snapshot(time_ns, entities, tuple(tables))

    def _collect_for_outputs(self) -> None:
        began = time.monotonic()
        try:
            snapshot = self.collect()
        except (BpfError, OSError) as error:
            self._note_failure(_WALK, error)
            return
        self.took(time.monotonic() - began)
        self._failing.discard(_WALK)
        for output in self.outputs:
            output(snapshot)

    def _tables(self, probe: str, namespaces: Sequence[Namespace]) -> Iterator[Table | HistogramTable]:
        """Tables of one probe; one that fails leaves a gap in its own series and nowhere else."""
        try:
            yield from list(self.probes[probe].collect(namespaces))
        except (BpfError, MalformedTable, OSError, Unavailable) as error:
            self._note_failure(probe, error)
        else:
            self._failing.discard(probe)

    def _note_failure(self, what: str, error: Exception) -> None:
        """Log it once, not at each interval."""
        if what not in self._failing:
            self._failing.add(what)
            logger.error("%s cannot be collected: %s", what, explained(error))
