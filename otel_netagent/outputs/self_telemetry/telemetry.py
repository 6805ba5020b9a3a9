"""The agent's own meter provider, and the page of its instruments."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest

from otel_netagent import __version__
from otel_netagent.outputs.self_telemetry.agent_state import AgentState
from otel_netagent.outputs.self_telemetry.instruments import (
    COLLECTION_DURATION,
    DURATION_BOUNDS,
    OBSERVABLES,
    InstrumentKind,
    Observable,
)


class SelfTelemetry:
    """Reads the state of the agent for each page or export, once for all instruments. Thread-safe."""

    def __init__(self, resource: Resource, node: str, look: Callable[[], AgentState]) -> None:
        """`resource` describes the agent on this node; `look` reads its state, and is not called yet."""
        self._own = {"node": node}
        self._look = look
        self._agent_state = AgentState()
        self._looking = threading.Lock()
        self._registry = CollectorRegistry()
        self._shown = PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)
        self._exported = InMemoryMetricReader()
        self._provider = MeterProvider([self._shown, self._exported], resource, shutdown_on_exit=False)
        meter = self._provider.get_meter("otel_netagent", __version__)
        for observable in OBSERVABLES:
            self._register(meter, observable)
        self._durations = meter.create_histogram(
            COLLECTION_DURATION.name,
            COLLECTION_DURATION.unit,
            COLLECTION_DURATION.description,
            explicit_bucket_boundaries_advisory=DURATION_BOUNDS,
        )

    def collected(self, seconds: float) -> None:
        """Record the duration of a collection."""
        self._durations.record(seconds, self._own)

    def page(self) -> bytes:
        """All instruments in the Prometheus text format, under the names of Prometheus' conventions."""
        with self._looking:
            self._agent_state = self._look()
            return generate_latest(self._registry)

    def data(self) -> MetricsData | None:
        """All instruments in the form of the SDK's exporters; None if there is no data."""
        with self._looking:
            self._agent_state = self._look()
            return self._exported.get_metrics_data()

    def close(self) -> None:
        """Shut the provider down."""
        self._provider.shutdown()

    def _register(self, meter: Meter, declared: Observable) -> None:
        create = {
            InstrumentKind.COUNTER: meter.create_observable_counter,
            InstrumentKind.AMOUNT: meter.create_observable_up_down_counter,
        }[declared.kind]
        create(declared.name, [partial(self._observe, declared)], declared.unit, declared.description)

    def _observe(self, declared: Observable, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(value, {**self._own, **attributes}) for attributes, value in declared.points(self._agent_state)
        ]
