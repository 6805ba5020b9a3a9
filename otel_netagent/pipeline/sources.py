"""Where all comes from: the probes, the thread that collects their numbers, and the one that reads their events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.identity.naming import EntityNaming
from otel_netagent.identity.registry import Registry
from otel_netagent.model.probe_status import ProbeStatus
from otel_netagent.pipeline.collector import Collector
from otel_netagent.pipeline.event_reader import EventReader
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.pipeline.probe_set import Changes, ProbeSelection, ProbeSet
from otel_netagent.pipeline.suppressed import Untold
from otel_netagent.probing.declaration import Probe

logger = logging.getLogger(__name__)

RETRY_EVERY_S: Final = 60.0
"""How often to `retry`: seldom, since what a probe needs hardly ever comes, and trying costs as much as starting."""

_NOTHING: Final = ProbeSelection(frozenset(), frozenset())


class Sources:
    """Go from one set of wanted probes, outputs and interval to the next; what stays notices nothing of it."""

    def __init__(
        self,
        catalogue: Mapping[str, Probe],
        access: KernelAccess,
        took: Callable[[float], None] = lambda _: None,
        naming: EntityNaming | None = None,
    ) -> None:
        """Nothing runs before `apply`. `took` is told how many seconds each collection took; `naming` knows of pods."""
        self._catalogue = catalogue
        registry = Registry(naming=naming)
        self._probes = ProbeSet(_NOTHING, catalogue, access)
        self._collector = Collector(access.walk.walk, registry, {}, (), interval_s=0)
        self._collector.took = took
        self._untold = Untold()
        self._events: Sequence[Callable[[AttributedEvent], None]] = ()
        self._reader = EventReader((), registry, self._events)

    @property
    def statuses(self) -> tuple[ProbeStatus, ...]:
        """State of every probe, by name."""
        return self._probes.statuses

    @property
    def discarded(self) -> int:
        """Records that were read as events and were none."""
        return self._reader.discarded

    @property
    def running(self) -> tuple[str, ...]:
        """Names of the probes that run."""
        return tuple(self._probes.running)

    def apply(
        self,
        wanted: ProbeSelection,
        snapshots: Sequence[Callable[[Snapshot], None]],
        events: Sequence[Callable[[AttributedEvent], None]],
        interval_s: float,
    ) -> Changes:
        """Run what is wanted, for these outputs. A collection follows at once: what was stopped is shown no more."""
        self._collector.pause()
        # What is wanted no more tells nothing from here on; then it is read to its end, and only then stopped.
        self._probes.configure(wanted)
        self._reader.read_from(self._probes.event_sources, self._events)
        changes = self._probes.apply(wanted)
        self._untold.outputs = self._events = events
        self._collector.outputs, self._collector.interval_s = (self._untold.compare, *snapshots), interval_s
        self._use_running()
        return changes

    def retry(self) -> None:
        """Try again to start what was unavailable: its kernel module may have come meanwhile."""
        if found := self._probes.retry():
            logger.info("probes that were unavailable run now: %s", ", ".join(found))
            self._collector.pause()
            self._use_running()

    def close(self) -> None:
        """Tell the events that have come until now, end both threads, and leave nothing in the kernel."""
        self._probes.configure(_NOTHING)
        self._reader.stop()
        self._collector.stop()
        self._probes.close()

    def _use_running(self) -> None:
        self._reader.read_from(self._probes.event_sources, self._events)
        self._collector.probes = self._probes.running
        self._collector.start()
