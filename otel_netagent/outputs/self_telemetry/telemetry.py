"""The agent's own meter provider, and the page that shows its instruments."""

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
    """Looks at the agent when it is asked to, once for all instruments. From any thread."""

    def __init__(self, resource: Resource, node: str, look: Callable[[], AgentState]) -> None:
        """`resource` is the agent, on the node of this name. Nothing is looked at yet."""
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
        """A collection took so long."""
        self._durations.record(seconds, self._own)

    def page(self) -> bytes:
        """All instruments in the Prometheus text format, under the names that Prometheus' conventions give them."""
        with self._looking:
            self._agent_state = self._look()
            return generate_latest(self._registry)

    def data(self) -> MetricsData | None:
        """All instruments as the SDK's exporters take them; None where there is nothing to say."""
        with self._looking:
            self._agent_state = self._look()
            return self._exported.get_metrics_data()

    def close(self) -> None:
        """Let the provider go."""
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
