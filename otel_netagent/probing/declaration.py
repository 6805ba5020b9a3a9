"""What a probe is: its declaration, known before it runs, and its running form.

A probe is one module of otel_netagent/probes with a `PROBE`, which is all that anybody else learns of it: the
catalogue, the reference pages, the HELP texts and `inspector list probe` come from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from otel_netagent.kernel.bpf.bpf_object import Map
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.namespaces import Namespace, NamespaceWalk
from otel_netagent.model.event import Event, EventType
from otel_netagent.model.probe_status import HookStatus, Refusal
from otel_netagent.model.series import Series
from otel_netagent.model.table import HistogramTable, Table
from otel_netagent.probing.capability import Capability


@dataclass(frozen=True, slots=True)
class EventSource:
    """Where a probe's events come from: a ring buffer, and how one of its records is read.

    `decode` gets the record and what to add to CLOCK_MONOTONIC for Unix time (ns). It raises BadRecord for
    what is no record of this probe.

    No events are emitted before `configure` is called with their settings; None: no events. It may be called at any
    time, and changes nothing of what the probe counts.
    """

    ring: Map
    decode: Callable[[bytes, int], Event]
    configure: Callable[[EventSettings | None], None]


class RunningProbe(Protocol):
    """A probe at work."""

    @property
    def hooks(self) -> tuple[HookStatus, ...]:
        """How what it watches is attached."""

    @property
    def event_source(self) -> EventSource | None:
        """Where its events come from, if it has any; always the same."""

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table | HistogramTable]:
        """Its numbers now, for these namespaces. Called once an interval, always by the same thread.

        Raises BpfError, MalformedTable, OSError or Unavailable where they cannot be had now: its series have a gap.
        """

    def close(self) -> None:
        """Leave nothing in the kernel."""


@dataclass(frozen=True, slots=True)
class WalkAccess:
    """The walk over the namespaces that is in use, and the better one that this kernel rejected."""

    walk: NamespaceWalk
    refused: tuple[Refusal, ...] = ()

    def hook(self, purpose: str) -> HookStatus:
        """How what is read off the walk is attached."""
        return HookStatus(purpose, self.walk.way, self.refused)


@dataclass(frozen=True, slots=True)
class EventSettings:
    """How many events a second are emitted of one kind in one namespace, and from what duration on (ms, by type name).

    With `expected`, events are emitted also for what is no fault, and else only counted.
    """

    per_second: int = 100
    thresholds_ms: Mapping[str, int] = field(default_factory=dict)
    expected: bool = False

    def threshold_ns(self, event_type: EventType) -> int:
        """Above what duration this type fires; 0 for a type that duration does not matter to."""
        return self.thresholds_ms.get(event_type.name, event_type.threshold_ms or 0) * 1_000_000


@dataclass(frozen=True, slots=True)
class Environment:
    """What a probe may use when it starts.

    Without `kernel` there is no eBPF on this machine, for the reason `no_kernel`.
    """

    kernel: KernelFacts | None
    no_kernel: str
    walk: WalkAccess


@dataclass(frozen=True, slots=True)
class Probe:
    """Declaration of a probe.

    `start` raises attach.Unavailable where the probe cannot run. `cost` says what it costs, `opt_in` why it runs
    only where the configuration names it; without such a reason it is one of the necessary probes. A configuration
    may call the probe by one of its `aliases` too.

    `capabilities` are those without which it does not start, or does not attach as it should and reads procfs instead.
    What the agent needs for itself, to see the processes of others, is not among them.
    """

    name: str
    summary: str
    start: Callable[[Environment], RunningProbe]
    series: tuple[Series, ...] = ()
    events: tuple[EventType, ...] = ()
    cost: str = ""
    capabilities: tuple[Capability, ...] = ()
    opt_in: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def necessary(self) -> bool:
        """Whether it runs where the configuration names no probes."""
        return not self.opt_in
