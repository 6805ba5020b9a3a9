"""The instruments of the agent's own telemetry: name, unit and meaning of each, and the source of its values.

Names follow OpenTelemetry's conventions, `process.*` its semantic conventions ("OS process metrics").
"""

from __future__ import annotations

import contextlib
import enum
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from otel_netagent.outputs.self_telemetry.agent_state import AgentState, cpu_seconds, resident_bytes
from otel_netagent.outputs.sending import NO_POD, DeliveryStatistics

Points: TypeAlias = Iterator[tuple[Mapping[str, str], float]]
"""Attributes and value of each point."""


class InstrumentKind(enum.Enum):
    """Kinds of instruments, as the data model names them."""

    COUNTER = "counter"
    AMOUNT = "updowncounter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Instrument:
    """Declaration of an instrument. `attributes` are those besides `node`."""

    name: str
    kind: InstrumentKind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observable(Instrument):
    """An instrument whose values are read when they are exported."""

    points: Callable[[AgentState], Points] = lambda _: iter(())


def _sole(value: Callable[[AgentState], float]) -> Callable[[AgentState], Points]:
    return lambda state: iter([({}, value(state))])


def _memory(_: AgentState) -> Points:
    """No point if the file cannot be read, as when no file descriptor is free."""
    with contextlib.suppress(OSError):
        yield {}, resident_bytes()


def _by_delivery(value: Callable[[DeliveryStatistics], float]) -> Callable[[AgentState], Points]:
    return lambda state: (({"delivery": name}, value(statistics)) for name, statistics in state.deliveries.items())


def _dropped(state: AgentState) -> Points:
    for name, statistics in state.deliveries.items():
        for cause, count in statistics.dropped.items():
            yield {"delivery": name, "cause": cause.value}, count


def _dropped_by_pod(state: AgentState) -> Points:
    for name, statistics in state.deliveries.items():
        for (cause, pod), count in statistics.dropped_by_pod.items():
            if pod != NO_POD:
                who = {"namespace": pod.namespace, "pod": pod.name}
                yield {"delivery": name, "cause": cause.value, **who}, count


def _probe_states(state: AgentState) -> Points:
    return (({"probe": probe.name, "state": probe.state.value}, 1) for probe in state.probes)


def _entities(state: AgentState) -> Points:
    kinds = Counter(entity.kind.value for entity in state.entities.values())
    return (({"kind": kind}, count) for kind, count in kinds.items())


def _watch_state(state: AgentState) -> Points:
    return iter([({"state": state.kubernetes.state.value}, 1)])


def _labels_left_out(state: AgentState) -> float:
    return sum(entity.labels_left_out for entity in state.entities.values())


def _cpu_time(_: AgentState) -> Points:
    return (({"cpu.mode": mode}, seconds) for mode, seconds in cpu_seconds().items())


COLLECTION_DURATION: Final = Instrument(
    "netagent.collection.duration", InstrumentKind.HISTOGRAM, "s", "How long a collection of all numbers took"
)

DURATION_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""In seconds: from the time for a node with few pods to twice the usual interval."""

OBSERVABLES: Final = (
    Observable(
        "netagent.delivery.delivered", InstrumentKind.COUNTER, "{item}",
        "Data points or events that the receiver has accepted",
        ("delivery",), _by_delivery(lambda statistics: statistics.delivered),
    ),
    Observable(
        "netagent.delivery.failed_tries", InstrumentKind.COUNTER, "{request}",
        "Requests that the receiver did not accept, counted at each attempt",
        ("delivery",), _by_delivery(lambda statistics: statistics.failed_tries),
    ),
    Observable(
        "netagent.delivery.dropped", InstrumentKind.COUNTER, "{item}",
        "Data points or events that were dropped undelivered",
        ("delivery", "cause"), _dropped,
    ),
    Observable(
        "netagent.delivery.dropped_by_pod", InstrumentKind.COUNTER, "{item}",
        "The part of dropped that belongs to one pod",
        ("delivery", "cause", "namespace", "pod"), _dropped_by_pod,
    ),
    Observable(
        "netagent.delivery.queued", InstrumentKind.AMOUNT, "{item}",
        "Data points or events that wait in memory",
        ("delivery",), _by_delivery(lambda statistics: statistics.queued),
    ),
    Observable(
        "netagent.delivery.spool.size", InstrumentKind.AMOUNT, "By",
        "Size of the requests that wait on disk",
        ("delivery",), _by_delivery(lambda statistics: statistics.spool_bytes),
    ),
    Observable(
        "netagent.events.discarded", InstrumentKind.COUNTER, "{record}",
        "Records from the kernel that could not be decoded as events",
        (), _sole(lambda state: state.discarded_records),
    ),
    Observable(
        "netagent.text.lost", InstrumentKind.COUNTER, "{line}",
        "Event lines that were dropped because standard error was not read, or could not be written",
        (), _sole(lambda state: state.lost_event_lines),
    ),
    Observable(
        "netagent.log.lost", InstrumentKind.COUNTER, "{line}",
        "Log lines that were dropped for the same reasons",
        (), _sole(lambda state: state.lost_log_lines),
    ),
    Observable(
        "netagent.probe.state", InstrumentKind.AMOUNT, "{probe}",
        "1 for the state that the probe is in: running, degraded, unavailable or off",
        ("probe", "state"), _probe_states,
    ),
    Observable(
        "netagent.entities", InstrumentKind.AMOUNT, "{entity}",
        "Owners of the network namespaces that are collected",
        ("kind",), _entities,
    ),
    Observable(
        "netagent.kubernetes.state", InstrumentKind.AMOUNT, "{watch}",
        "1 for the state that the watch of the node's pods is in: off, starting, following or failing",
        ("state",), _watch_state,
    ),
    Observable(
        "netagent.kubernetes.pods", InstrumentKind.AMOUNT, "{pod}",
        "Pods of the node that the Kubernetes API has reported",
        (), _sole(lambda state: state.kubernetes.pods),
    ),
    Observable(
        "netagent.kubernetes.failures", InstrumentKind.COUNTER, "{failure}",
        "Lists and watches of pods that failed",
        (), _sole(lambda state: state.kubernetes.failures),
    ),
    Observable(
        "netagent.kubernetes.lists", InstrumentKind.COUNTER, "{list}",
        "Lists of all pods of the node: at the start, after an error of the API, and every 30 to 45 minutes",
        (), _sole(lambda state: state.kubernetes.lists),
    ),
    Observable(
        "netagent.labels.left_out", InstrumentKind.AMOUNT, "{label}",
        "Labels of pods that no series has, because they are too many or too long",
        (), _sole(_labels_left_out),
    ),
    Observable(
        "process.cpu.time", InstrumentKind.COUNTER, "s",
        "CPU time of the agent",
        ("cpu.mode",), _cpu_time,
    ),
    Observable(
        "process.memory.usage", InstrumentKind.AMOUNT, "By",
        "Memory of the agent that is in RAM",
        (), _memory,
    ),
)  # fmt: skip

INSTRUMENTS: Final[tuple[Instrument, ...]] = (*OBSERVABLES, COLLECTION_DURATION)
