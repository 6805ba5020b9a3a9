"""The probes that the configuration asks for: each started on its own, with the state of every one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.kallsyms import SymbolsUnreadable
from otel_netagent.model.probe_status import ProbeState, ProbeStatus
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment, EventSettings, EventSource, Probe, RunningProbe

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProbeSelection:
    """What the configuration asks for, by probe name, and what it says of all events.

    `impossible` are names that it asks for but that cannot run, with the reason.
    """

    metrics: frozenset[str]
    events: frozenset[str]
    settings: EventSettings = field(default_factory=EventSettings)
    impossible: Mapping[str, str] = field(default_factory=dict)

    @property
    def all(self) -> frozenset[str]:
        """Names asked for in either section."""
        return self.metrics | self.events

    def events_of(self, name: str) -> EventSettings | None:
        """Settings for the events of a probe; None: emit none."""
        return self.settings if name in self.events else None


@dataclass(frozen=True, slots=True)
class Changes:
    """Probes that an `apply` started, and stopped, by name."""

    started: tuple[str, ...]
    stopped: tuple[str, ...]

    def __str__(self) -> str:
        """As part of a log line; empty where nothing changed."""
        kinds = (("started", self.started), ("stopped", self.stopped))
        return "; ".join(f"probes {what}: {', '.join(names)}" for what, names in kinds if names)


class ProbeSet:
    """The running probes, and the states of the others. No probe that fails can stop the rest.

    `running` is in the order of the names, and a new mapping after each change.
    """

    def __init__(self, wanted: ProbeSelection, catalogue: Mapping[str, Probe], access: KernelAccess) -> None:
        """Start what is wanted."""
        self._catalogue = catalogue
        self._access = access
        self._wanted = ProbeSelection(frozenset(), frozenset())
        self._statuses: Mapping[str, ProbeStatus] = {}
        self.running: Mapping[str, RunningProbe] = {}
        self.apply(wanted)

    @property
    def statuses(self) -> tuple[ProbeStatus, ...]:
        """State of every probe, by name, and of every name that was asked for and is no probe."""
        return tuple(map(self._declared, self._statuses.values()))

    @property
    def event_sources(self) -> Sequence[EventSource]:
        """Event sources of the running probes whose events are wanted."""
        sources = (probe.event_source for name, probe in self.running.items() if name in self._wanted.events)
        return tuple(filter(None, sources))

    def configure(self, wanted: ProbeSelection) -> None:
        """Have the running probes emit, from now on, only the events that are wanted; the other probes emit none."""
        self._wanted = wanted
        for name, probe in self.running.items():
            self._configure(name, probe)

    def apply(self, wanted: ProbeSelection) -> Changes:
        """Stop what is not wanted and start what does not run; what stays goes on counting.

        Nobody else may still use a probe that is not wanted any more.
        """
        self.configure(wanted)
        before = self.running
        for name in before.keys() - wanted.all:
            before[name].close()
        self.running = {name: probe for name, probe in before.items() if name in wanted.all}
        self._start_missing()
        return Changes(
            started=tuple(name for name in self.running if name not in before),
            stopped=tuple(name for name in before if name not in self.running),
        )

    def retry(self) -> tuple[str, ...]:
        """Try again to start what was unavailable; the names of the probes that run now."""
        before = self.running
        if self._wanted.all - before.keys():
            self._start_missing()
        return tuple(name for name in self.running if name not in before)

    def close(self) -> None:
        """Stop all."""
        for probe in self.running.values():
            probe.close()
        self.running = {}

    def _declared(self, status: ProbeStatus) -> ProbeStatus:
        """The status with what the probe declares, if it is one."""
        if (probe := self._catalogue.get(status.name)) is None:
            return status
        return replace(status, capabilities=tuple(map(str, probe.capabilities)), cost=probe.cost)

    def _start_missing(self) -> None:
        running = dict(self.running)
        statuses = {name: self._statuses[name] for name in running}
        for name in sorted(self._wanted.all - running.keys()):
            probe = self._catalogue[name]
            try:
                running[name] = self._start(probe)
            except (Unavailable, BpfError, SymbolsUnreadable) as error:
                statuses[name] = _unavailable(name, str(error))
                self._warn(statuses[name])
            else:
                statuses[name] = _status(name, running[name])
        self.running = dict(sorted(running.items()))
        off = {name: _off(name) for name in self._catalogue}
        impossible = {name: _unavailable(name, reason) for name, reason in self._wanted.impossible.items()}
        self._statuses = dict(sorted((off | impossible | statuses).items()))
        if self._access.facts:
            self._access.facts.forget_types()

    def _start(self, probe: Probe) -> RunningProbe:
        running = probe.start(Environment(self._access.facts, self._access.no_kernel, self._access.walk))
        self._configure(probe.name, running)
        return running

    def _configure(self, name: str, running: RunningProbe) -> None:
        if running.event_source:
            running.event_source.configure(self._wanted.events_of(name))

    def _warn(self, status: ProbeStatus) -> None:
        """Log it once, not at each try."""
        if self._statuses.get(status.name) != status:
            logger.warning("probe %s is unavailable: %s", status.name, status.reason)


def _status(name: str, running: RunningProbe) -> ProbeStatus:
    missing = [hook.purpose for hook in running.hooks if hook.way is None]
    if missing:
        reason = f"not seen on this kernel: {', '.join(missing)}"
        return ProbeStatus(name, ProbeState.DEGRADED, running.hooks, reason)
    return ProbeStatus(name, ProbeState.RUNNING, running.hooks)


def _unavailable(name: str, reason: str) -> ProbeStatus:
    return ProbeStatus(name, ProbeState.UNAVAILABLE, reason=reason)


def _off(name: str) -> ProbeStatus:
    return ProbeStatus(name, ProbeState.OFF, reason="not asked for in the configuration")
