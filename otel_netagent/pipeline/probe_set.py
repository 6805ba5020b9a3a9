"""The probes that the configuration asks for: started each on its own, with the state of every one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from otel_netagent.config.schema import Config, Known
from otel_netagent.kernel.libbpf import BpfError
from otel_netagent.kernel.symbols import SymbolsUnreadable
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment, EventSettings, Probe, RunningProbe
from otel_netagent.telemetry.status import ProbeState, ProbeStatus

logger = logging.getLogger(__name__)


def known_names(catalogue: Mapping[str, Probe]) -> Known:
    """What a configuration may name of these probes."""
    probes = catalogue.values()
    types = (each for probe in probes for each in probe.events if each.threshold_ms is not None)
    return Known(
        metric_probes=_with_aliases(probe for probe in probes if probe.series),
        event_probes=_with_aliases(probe for probe in probes if probe.events),
        thresholds={name: each.name for each in types for name in (each.name, *each.aliases)},
    )


def _with_aliases(probes: Iterable[Probe]) -> Mapping[str, str]:
    return {name: probe.name for probe in probes for name in (probe.name, *probe.aliases)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the configuration asks for, by probe name, and what it says of all events."""

    metrics: frozenset[str]
    events: frozenset[str]
    settings: EventSettings = field(default_factory=EventSettings)

    @classmethod
    def of(cls, config: Config, catalogue: Mapping[str, Probe]) -> Wanted:
        """No names mean the necessary probes; a section that is switched off means none."""
        measuring = {name for name, probe in catalogue.items() if probe.necessary and probe.series}
        telling = {name for name, probe in catalogue.items() if probe.necessary and probe.events}
        return cls(
            frozenset(config.metric.probes or measuring if config.metric.enable else ()),
            frozenset(config.event.probes or telling if config.event.enable else ()),
            EventSettings(config.event.events_per_second, config.event.thresholds, config.event.harmless),
        )

    @property
    def all(self) -> frozenset[str]:
        """Names asked for in either section."""
        return self.metrics | self.events

    def events_of(self, probe: Probe) -> EventSettings | None:
        """What is wanted of a probe's events, with no other probe's thresholds and none that is the default anyway."""
        if probe.name not in self.events:
            return None
        thresholds = self.settings.thresholds_ms
        own = {
            each.name: thresholds[each.name]
            for each in probe.events
            if thresholds.get(each.name, each.threshold_ms) != each.threshold_ms
        }
        return replace(self.settings, thresholds_ms=own)


@dataclass(frozen=True, slots=True)
class Changes:
    """Probes that an `apply` started, stopped, and started anew, by name."""

    started: tuple[str, ...]
    stopped: tuple[str, ...]
    restarted: tuple[str, ...]

    def __str__(self) -> str:
        """As part of a log line; empty where nothing changed."""
        kinds = (("started", self.started), ("stopped", self.stopped), ("restarted", self.restarted))
        return "; ".join(f"probes {what}: {', '.join(names)}" for what, names in kinds if names)


class ProbeSet:
    """Running probes, and what became of the others. None of them can stop the rest.

    `running` is in the order of the names, and another mapping after each change.
    """

    def __init__(self, wanted: Wanted, catalogue: Mapping[str, Probe], access: KernelAccess) -> None:
        """Start what is wanted."""
        self._catalogue = catalogue
        self._access = access
        self._wanted = Wanted(frozenset(), frozenset())
        self._settings: dict[str, EventSettings | None] = {}
        self._statuses: Mapping[str, ProbeStatus] = {}
        self.running: Mapping[str, RunningProbe] = {}
        self.apply(wanted)

    @property
    def statuses(self) -> tuple[ProbeStatus, ...]:
        """State of every probe, by name."""
        return tuple(self._statuses.values())

    def staying(self, wanted: Wanted) -> Mapping[str, RunningProbe]:
        """Those of the running probes that are wanted just as they run."""
        return {
            name: probe
            for name, probe in self.running.items()
            if name in wanted.all and self._settings[name] == wanted.events_of(self._catalogue[name])
        }

    def apply(self, wanted: Wanted) -> Changes:
        """Stop what is not wanted, or wanted otherwise, and start what does not run; what stays is not touched.

        Nobody else may use a probe any more that is not `staying`.
        """
        before, staying = self.running, self.staying(wanted)
        for name in before.keys() - staying.keys():
            before[name].close()
        self.running = staying
        self._wanted = wanted
        self._start_missing()
        return Changes(
            started=tuple(name for name in self.running if name not in before),
            stopped=tuple(name for name in before if name not in self.running),
            restarted=tuple(name for name in self.running if name in before and name not in staying),
        )

    def retry(self) -> tuple[str, ...]:
        """Try those again that were unavailable; the names of those that run now."""
        before = self.running
        if self._wanted.all - before.keys():
            self._start_missing()
        return tuple(name for name in self.running if name not in before)

    def close(self) -> None:
        """Stop all."""
        for probe in self.running.values():
            probe.close()
        self.running = {}

    def _start_missing(self) -> None:
        running = dict(self.running)
        statuses = {name: self._statuses[name] for name in running}
        for name in sorted(self._wanted.all - running.keys()):
            probe = self._catalogue[name]
            try:
                running[name] = self._start(probe)
            except (Unavailable, BpfError, SymbolsUnreadable) as error:
                statuses[name] = self._unavailable(name, str(error))
            else:
                statuses[name] = _status(name, running[name])
        self.running = dict(sorted(running.items()))
        self._settings = {name: self._wanted.events_of(self._catalogue[name]) for name in running}
        self._statuses = {name: statuses.get(name, _off(name)) for name in sorted(self._catalogue)}
        if self._access.facts:
            self._access.facts.forget_types()

    def _start(self, probe: Probe) -> RunningProbe:
        events = self._wanted.events_of(probe)
        return probe.start(Environment(self._access.facts, self._access.no_kernel, self._access.walk, events))

    def _unavailable(self, name: str, reason: str) -> ProbeStatus:
        status = ProbeStatus(name, ProbeState.UNAVAILABLE, reason=reason)
        if self._statuses.get(name) != status:  # said once, not at each try
            logger.warning("probe %s is unavailable: %s", name, reason)
        return status


def _status(name: str, running: RunningProbe) -> ProbeStatus:
    missing = [hook.purpose for hook in running.hooks if hook.way is None]
    if missing:
        reason = f"not seen on this kernel: {', '.join(missing)}"
        return ProbeStatus(name, ProbeState.DEGRADED, running.hooks, reason)
    return ProbeStatus(name, ProbeState.RUNNING, running.hooks)


def _off(name: str) -> ProbeStatus:
    return ProbeStatus(name, ProbeState.OFF, reason="not asked for in the configuration")
