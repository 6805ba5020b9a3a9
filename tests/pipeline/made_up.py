"""Probes, and a walk over the namespaces, that do as they are told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from otel_netagent.kernel.mibs import MibField
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment, EventSettings, EventSource, Probe
from otel_netagent.telemetry.event import EventType
from otel_netagent.telemetry.series import Kind, Series
from otel_netagent.telemetry.snapshot import Table
from otel_netagent.telemetry.status import HookStatus

HERE = Path("/proc/self/ns/net").stat().st_ino


@dataclass
class MadeUpWalk:
    """Finds one namespace, that of the test; calls `meanwhile` first."""

    meanwhile: Callable[[], None] = lambda: None
    way: str = "made up"
    positions: Mapping[MibField, int] = field(default_factory=dict)

    def take(self) -> list[Namespace]:
        """The one."""
        self.meanwhile()
        return [Namespace(HERE, HERE, os.getpid(), ())]

    def close(self) -> None:
        """Nothing is held."""


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


@dataclass
class Starts:
    """Starts probes, each time a new one, and knows what runs: by name, with what is wanted of its events.

    `while_asked` is called whenever one of them is asked for its numbers.
    """

    running: dict[str, tuple[MadeUpProbe, EventSettings | None]] = field(default_factory=dict)
    started: int = 0
    refused: set[str] = field(default_factory=set)
    while_asked: Callable[[], None] = lambda: None

    def declare(self, name: str, *, necessary: bool = True, types: tuple[EventType, ...] = ()) -> Probe:
        """The declaration of a probe that starts unless it is `refused`."""

        def start(environment: Environment) -> MadeUpProbe:
            if name in self.refused:
                raise Unavailable("what it needs is not there")
            assert name not in self.running, "it runs already"
            self.started += 1
            probe = _Known(name, starts=self)
            self.running[name] = (probe, environment.events)
            return probe

        return Probe(name, "made up", start, (series_of(name),), types, necessary)


@dataclass
class _Known(MadeUpProbe):
    """A probe that is no longer running when it is closed, and is not asked any more."""

    starts: Starts = field(default_factory=Starts)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        self.starts.while_asked()
        assert self.starts.running[self.name][0] is self, "closed before it has answered"
        return super().collect(namespaces)

    def close(self) -> None:
        """Run no more."""
        assert self.starts.running.pop(self.name)[0] is self
