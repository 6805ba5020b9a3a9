"""Probes, and a walk over the namespaces, that do as they are told."""

from __future__ import annotations

import contextlib
import functools
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from otel_netagent.kernel.bpf.bpf_object import BpfObject, Map
from otel_netagent.kernel.mibs import MibField
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.attribute import Attribute
from otel_netagent.model.event import Event, EventType
from otel_netagent.model.probe_status import HookStatus
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Table
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment, EventSettings, EventSource, Probe
from tests.kernel.fixtures import CompileBpf

_RINGS = """
#include "probe.h"

#define RING(name) \\
	struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } name SEC(".maps")

RING(first);
RING(second);
RING(third);

SEC("raw_tp")
int use(void *context)
{
	return bpf_ringbuf_query(&first, 0) + bpf_ringbuf_query(&second, 0) + bpf_ringbuf_query(&third, 0);
}
"""

NUMBER = Attribute("number", int, "which event it is", before=" number=")

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
        yield Table(self.name, (series_of(self.name),), {(each.cookie, ()): (self.collections,) for each in namespaces})
        if self.error:
            raise self.error

    def close(self) -> None:
        """Note that it was closed."""
        self.closed.append(self.name)


def declared(running: MadeUpProbe, *, necessary: bool = True, events: bool = False) -> Probe:
    """The declaration of a probe that starts; its environment is kept nowhere."""

    def start(_environment: Environment) -> MadeUpProbe:
        return running

    types = (EventType(running.name.upper(), f"netagent.{running.name}", "it happens", (NUMBER,)),) if events else ()
    return Probe(
        running.name, "made up", start, (series_of(running.name),), types, opt_in="" if necessary else "special"
    )


def refusing(name: str, error: Exception) -> Probe:
    """The declaration of a probe that does not start."""

    def start(_environment: Environment) -> MadeUpProbe:
        raise error

    return Probe(name, "made up", start, (series_of(name),))


@contextlib.contextmanager
def real_rings(compile_bpf: CompileBpf) -> Iterator[tuple[Map, ...]]:
    """Three ring buffers in which nothing ever comes, for the time of the block."""
    with BpfObject(compile_bpf(_RINGS), ("use",)) as bpf_object:
        bpf_object.load()
        yield tuple(bpf_object.map(name) for name in ("first", "second", "third"))


@dataclass
class Starts:
    """Starts probes, each time a new one, and knows what runs, by name, and what of its events it was told to tell.

    `while_asked` is called whenever one of them is asked for its numbers. Each probe that has events takes a ring;
    a record in it is an event of that probe, as long as it runs.
    """

    rings: list[Map] = field(default_factory=list)
    running: dict[str, MadeUpProbe] = field(default_factory=dict)
    told: dict[str, EventSettings | None] = field(default_factory=dict)
    started: int = 0
    refused: set[str] = field(default_factory=set)
    while_asked: Callable[[], None] = lambda: None

    def declare(self, name: str, *, necessary: bool = True, types: tuple[EventType, ...] = ()) -> Probe:
        """The declaration of a probe that starts unless it is `refused`."""
        source: EventSource | None = None
        if types:
            decode = functools.partial(self._decode, name, types[0])
            source = EventSource(self.rings.pop(0), decode, lambda wanted: self._tell(name, wanted))

        def start(_environment: Environment) -> MadeUpProbe:
            if name in self.refused:
                raise Unavailable("what it needs is not there")
            assert name not in self.running, "it runs already"
            self.started += 1
            self.running[name] = _Known(name, event_source=source, starts=self)
            return self.running[name]

        return Probe(name, "made up", start, (series_of(name),), types, opt_in="" if necessary else "special")

    def _tell(self, name: str, wanted: EventSettings | None) -> None:
        assert name in self.running
        self.told[name] = wanted

    def _decode(self, name: str, kind: EventType, record: bytes, _offset: int) -> Event:
        assert name in self.running, "closed before its events were read"
        (number,) = struct.unpack("=Q", record)
        return Event(name, kind, number, HERE, HERE, {NUMBER.name: number})


@dataclass
class _Known(MadeUpProbe):
    """A probe that is no longer running when it is closed, and is not asked any more."""

    starts: Starts = field(default_factory=Starts)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        self.starts.while_asked()
        assert self.starts.running[self.name] is self, "closed before it has answered"
        return super().collect(namespaces)

    def close(self) -> None:
        """Run no more."""
        assert self.starts.running.pop(self.name) is self
        assert self.starts.told.pop(self.name, None) is None, "it may still tell what nobody reads"
