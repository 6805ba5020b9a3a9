"""The probes that the configuration asks for: started each on its own, with the state of every one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from otel_netagent.config import Config
from otel_netagent.kernel.libbpf import BpfError
from otel_netagent.kernel.symbols import SymbolsUnreadable
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment, EventSettings, Probe, RunningProbe
from otel_netagent.telemetry.status import ProbeState, ProbeStatus

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the configuration asks for, by probe name."""

    metrics: frozenset[str]
    events: frozenset[str]

    @classmethod
    def of(cls, config: Config, catalogue: Mapping[str, Probe]) -> Wanted:
        """No names mean the necessary probes; a section that is switched off means none."""
        measuring = {name for name, probe in catalogue.items() if probe.necessary and probe.series}
        telling = {name for name, probe in catalogue.items() if probe.necessary and probe.events}
        return cls(
            frozenset(config.metric.probes or measuring if config.metric.enable else ()),
            frozenset(config.event.probes or telling if config.event.enable else ()),
        )

    @property
    def all(self) -> frozenset[str]:
        """Names asked for in either section."""
        return self.metrics | self.events


class ProbeSet:
    """Running probes, and what became of the others. None of them can stop the rest."""

    def __init__(self, wanted: Wanted, catalogue: Mapping[str, Probe], access: KernelAccess) -> None:
        """Start what is wanted."""
        self.running: dict[str, RunningProbe] = {}
        self._statuses: dict[str, ProbeStatus] = {}
        for name in sorted(catalogue.keys() | wanted.all):
            if name not in wanted.all:
                status = ProbeStatus(name, ProbeState.OFF, reason="not asked for in the configuration")
            elif name not in catalogue:
                status = _unavailable(name, f"no such probe; there are {', '.join(sorted(catalogue))}")
            else:
                events = EventSettings() if name in wanted.events else None
                environment = Environment(access.facts, access.no_kernel, access.walk, events)
                status = self._start(catalogue[name], environment)
            self._statuses[name] = status
            if status.state is ProbeState.UNAVAILABLE:
                logger.warning("probe %s is unavailable: %s", name, status.reason)

    @property
    def statuses(self) -> tuple[ProbeStatus, ...]:
        """State of every probe, by name."""
        return tuple(self._statuses.values())

    def close(self) -> None:
        """Stop all."""
        while self.running:
            _, probe = self.running.popitem()
            probe.close()

    def _start(self, probe: Probe, environment: Environment) -> ProbeStatus:
        try:
            running = probe.start(environment)
        except (Unavailable, BpfError, SymbolsUnreadable) as error:
            return _unavailable(probe.name, str(error))
        self.running[probe.name] = running
        missing = [hook.purpose for hook in running.hooks if hook.way is None]
        if missing:
            return ProbeStatus(
                probe.name, ProbeState.DEGRADED, running.hooks, f"not seen on this kernel: {', '.join(missing)}"
            )
        return ProbeStatus(probe.name, ProbeState.RUNNING, running.hooks)


def _unavailable(name: str, reason: str) -> ProbeStatus:
    return ProbeStatus(name, ProbeState.UNAVAILABLE, reason=reason)
