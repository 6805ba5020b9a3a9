"""The instruments of the agent's own telemetry: name, unit and meaning of each, and where its values come from.

Names follow OpenTelemetry's conventions, `process.*` its semantic conventions ("OS process metrics").
"""

from __future__ import annotations

import contextlib
import enum
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from otel_netagent.outputs.self_telemetry.agent_state import Vitals, cpu_seconds, resident_bytes
from otel_netagent.outputs.sending import NO_POD, Tally

Points: TypeAlias = Iterator[tuple[Mapping[str, str], float]]
"""Attributes and value of each point."""


class Kind(enum.Enum):
    """Kinds of instruments, by the words of the data model."""

    COUNTER = "counter"
    AMOUNT = "updowncounter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Instrument:
    """Declaration of an instrument. `attributes` are those that it has beside `node`."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observable(Instrument):
    """An instrument whose values are looked up when they are asked for."""

    points: Callable[[Vitals], Points] = lambda _: iter(())


def _sole(value: Callable[[Vitals], float]) -> Callable[[Vitals], Points]:
    return lambda vitals: iter([({}, value(vitals))])


def _memory(_: Vitals) -> Points:
    """Nothing where it cannot be read: every file may be in use."""
    with contextlib.suppress(OSError):
        yield {}, resident_bytes()


def _by_delivery(value: Callable[[Tally], float]) -> Callable[[Vitals], Points]:
    return lambda vitals: (({"delivery": name}, value(tally)) for name, tally in vitals.deliveries.items())


def _let_go(vitals: Vitals) -> Points:
    for name, tally in vitals.deliveries.items():
        for cause, count in tally.let_go.items():
            yield {"delivery": name, "cause": cause.value}, count


def _let_go_by_pod(vitals: Vitals) -> Points:
    for name, tally in vitals.deliveries.items():
        for (cause, pod), count in tally.let_go_by_pod.items():
            if pod != NO_POD:
                who = {"namespace": pod.namespace, "pod": pod.name}
                yield {"delivery": name, "cause": cause.value, **who}, count


def _probe_states(vitals: Vitals) -> Points:
    return (({"probe": probe.name, "state": probe.state.value}, 1) for probe in vitals.probes)


def _entities(vitals: Vitals) -> Points:
    kinds = Counter(entity.kind.value for entity in vitals.entities.values())
    return (({"kind": kind}, count) for kind, count in kinds.items())


def _watch_state(vitals: Vitals) -> Points:
    return iter([({"state": vitals.kubernetes.state.value}, 1)])


def _labels_left_out(vitals: Vitals) -> float:
    return sum(entity.labels_left_out for entity in vitals.entities.values())


def _cpu_time(_: Vitals) -> Points:
    return (({"cpu.mode": mode}, seconds) for mode, seconds in cpu_seconds().items())


COLLECTION_DURATION: Final = Instrument(
    "netagent.collection.duration", Kind.HISTOGRAM, "s", "How long a collection of all numbers took"
)

DURATION_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""In seconds, from what a node of few pods needs to twice the usual interval."""

OBSERVABLES: Final = (
    Observable(
        "netagent.delivery.delivered", Kind.COUNTER, "{item}",
        "Data points or events that the receiver has taken",
        ("delivery",), _by_delivery(lambda tally: tally.delivered),
    ),
    Observable(
        "netagent.delivery.failed_tries", Kind.COUNTER, "{request}",
        "Requests that the receiver did not take at once",
        ("delivery",), _by_delivery(lambda tally: tally.failed_tries),
    ),
    Observable(
        "netagent.delivery.let_go", Kind.COUNTER, "{item}",
        "Data points or events that were given up undelivered",
        ("delivery", "cause"), _let_go,
    ),
    Observable(
        "netagent.delivery.let_go_by_pod", Kind.COUNTER, "{item}",
        "Those of let_go that spoke of one pod",
        ("delivery", "cause", "namespace", "pod"), _let_go_by_pod,
    ),
    Observable(
        "netagent.delivery.queued", Kind.AMOUNT, "{item}",
        "Data points or events that wait in memory",
        ("delivery",), _by_delivery(lambda tally: tally.queued),
    ),
    Observable(
        "netagent.delivery.spool.size", Kind.AMOUNT, "By",
        "Size of what waits on disk",
        ("delivery",), _by_delivery(lambda tally: tally.spool_bytes),
    ),
    Observable(
        "netagent.events.discarded", Kind.COUNTER, "{record}",
        "Records from the kernel that could not be read as events",
        (), _sole(lambda vitals: vitals.discarded_records),
    ),
    Observable(
        "netagent.text.lost", Kind.COUNTER, "{line}",
        "Event lines that were dropped since standard error was not read, or could not be written",
        (), _sole(lambda vitals: vitals.lost_event_lines),
    ),
    Observable(
        "netagent.log.lost", Kind.COUNTER, "{line}",
        "Log lines that were dropped for the same reasons",
        (), _sole(lambda vitals: vitals.lost_log_lines),
    ),
    Observable(
        "netagent.probe.state", Kind.AMOUNT, "{probe}",
        "1 for the state that the probe is in: running, degraded, unavailable or off",
        ("probe", "state"), _probe_states,
    ),
    Observable(
        "netagent.entities", Kind.AMOUNT, "{entity}",
        "Owners of network namespaces that numbers are collected of",
        ("kind",), _entities,
    ),
    Observable(
        "netagent.kubernetes.state", Kind.AMOUNT, "{watch}",
        "1 for the state that the watch of the node's pods is in: off, starting, following or failing",
        ("state",), _watch_state,
    ),
    Observable(
        "netagent.kubernetes.pods", Kind.AMOUNT, "{pod}",
        "Pods of the node that Kubernetes has told of",
        (), _sole(lambda vitals: vitals.kubernetes.pods),
    ),
    Observable(
        "netagent.kubernetes.failures", Kind.COUNTER, "{failure}",
        "Lists and watches of pods that failed",
        (), _sole(lambda vitals: vitals.kubernetes.failures),
    ),
    Observable(
        "netagent.kubernetes.lists", Kind.COUNTER, "{list}",
        "Lists of all pods of the node: at the start, after what the API reports as an error, every 30 to 45 minutes",
        (), _sole(lambda vitals: vitals.kubernetes.lists),
    ),
    Observable(
        "netagent.labels.left_out", Kind.AMOUNT, "{label}",
        "Labels of pods that no series has, since they are too many or too long",
        (), _sole(_labels_left_out),
    ),
    Observable(
        "process.cpu.time", Kind.COUNTER, "s",
        "CPU time of the agent",
        ("cpu.mode",), _cpu_time,
    ),
    Observable(
        "process.memory.usage", Kind.AMOUNT, "By",
        "Memory of the agent that is in RAM",
        (), _memory,
    ),
)  # fmt: skip

INSTRUMENTS: Final[tuple[Instrument, ...]] = (*OBSERVABLES, COLLECTION_DURATION)
