"""Probes that do as they are told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.probing.declaration import Environment, EventSource, Probe
from otel_netagent.telemetry.event import EventType
from otel_netagent.telemetry.series import Kind, Series
from otel_netagent.telemetry.snapshot import Table
from otel_netagent.telemetry.status import HookStatus


def series_of(name: str) -> Series:
    """The one series of the probe `name`."""
    return Series(f"inspector_pod_{name}", Kind.COUNTER, "1", "what it counts", "nowhere")


@dataclass
class MadeUpProbe:
    """Runs; counts its collections; fails while `error` is set."""

    name: str
    hooks: tuple[HookStatus, ...] = (HookStatus("everything", "procfs"),)
    event_source: EventSource | None = None
    error: Exception | None = None
    collections: int = 0
    closed: list[str] = field(default_factory=list)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        """One table, a row for each namespace."""
        self.collections += 1
        yield Table(self.name, (series_of(self.name),), {(each.inode, ()): (self.collections,) for each in namespaces})
        if self.error:
            raise self.error

    def close(self) -> None:
        """Note that it was closed."""
        self.closed.append(self.name)


def declared(running: MadeUpProbe, *, necessary: bool = True, events: bool = False) -> Probe:
    """The declaration of a probe that starts; its environment is kept nowhere."""

    def start(_environment: Environment) -> MadeUpProbe:
        return running

    types = (EventType(running.name.upper(), f"netagent.{running.name}", "it happens"),) if events else ()
    return Probe(running.name, "made up", start, (series_of(running.name),), types, necessary)


def refusing(name: str, error: Exception) -> Probe:
    """The declaration of a probe that does not start."""

    def start(_environment: Environment) -> MadeUpProbe:
        raise error

    return Probe(name, "made up", start, (series_of(name),))
