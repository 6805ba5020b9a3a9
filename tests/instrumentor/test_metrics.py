"""Snapshots through the SDK, against what the agent sends: equal in every field that the SDK lets be equal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import pytest
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from google.protobuf.message import Message
from hypothesis import assume, given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View

from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.instrumentor.instruments import Instruments
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Distribution, HistogramTable
from otel_netagent.outputs.otlp.attributes import agent_resource
from otel_netagent.outputs.otlp.metrics import MetricsEncoder
from otel_netagent.probes import catalogue
from otel_netagent.unicode import well_formed
from tests.outputs.changing import DECLARED, changing_snapshots
from tests.outputs.samples import (
    NODE,
    OPENS,
    RTT,
    START_NS,
    TIME_NS,
    make_entity,
    make_snapshot,
    make_table,
    snapshots,
)
from tests.tables import numbers

MessageT = TypeVar("MessageT", bound=Message)

RESOURCE: Final = agent_resource(NODE, kubernetes=True)
OVERFLOW: Final = "otel.metric.overflow"


class Sdk:
    """A MeterProvider with the instruments of these series, and what its exporter sends."""

    def __init__(self, declared: Mapping[str, Iterable[Series]], *views: View) -> None:
        """Nothing is published yet."""
        self._reader = InMemoryMetricReader()
        provider = MeterProvider([self._reader], RESOURCE, shutdown_on_exit=False, views=views)
        self.instruments = Instruments(provider, declared, NODE)

    def sent(self) -> ExportMetricsServiceRequest:
        """As a receiver sees it: from its bytes."""
        data = self._reader.get_metrics_data()
        return ExportMetricsServiceRequest.FromString(encode_metrics(data).SerializeToString() if data else b"")


def sent_by_agent(snapshot: Snapshot) -> ExportMetricsServiceRequest:
    requests = MetricsEncoder(RESOURCE, NODE).encode([snapshot])
    return ExportMetricsServiceRequest.FromString(b"".join(request.body for request in requests))


def comparable(request: ExportMetricsServiceRequest) -> list[ResourceMetrics]:
    """All that is sent, in one order for both ways, but for histograms and for the two times of a point."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            retain(scope.metrics, lambda metric: not metric.HasField("histogram"), lambda metric: metric.name)
            for metric in scope.metrics:
                points = metric.sum.data_points if metric.HasField("sum") else metric.gauge.data_points
                for point in points:
                    point.ClearField("time_unix_nano")
                    point.ClearField("start_time_unix_nano")
                points.sort(key=encoded)
        retain(resource.scope_metrics, lambda scope: bool(scope.metrics), lambda scope: scope.scope.name)
    return [resource for resource in request.resource_metrics if resource.scope_metrics]


def retain(
    messages: RepeatedCompositeFieldContainer[MessageT],
    wanted: Callable[[MessageT], bool],
    key: Callable[[MessageT], str],
) -> None:
    kept = sorted(filter(wanted, messages), key=key)
    del messages[:]
    messages.extend(kept)


def encoded(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


@given(st.lists(changing_snapshots(), max_size=6))
def test_the_sdk_sends_what_the_agent_sends_as_pods_come_and_go(sequence: list[Snapshot]) -> None:
    sdk = Sdk(DECLARED)
    for snapshot in sequence:
        sdk.instruments.publish(snapshot)
        assert comparable(sdk.sent()) == comparable(sent_by_agent(snapshot))


@given(snapshots())
def test_the_sdk_sends_what_the_agent_sends_of_whatever_series(snapshot: Snapshot) -> None:
    # Attributes that differ only by what no output can encode are the same to the SDK, which adds their values up.
    for table in numbers(snapshot.tables):
        keys = [(cookie, *map(well_formed, values)) for cookie, values in table.rows]
        assume(len(set(keys)) == len(keys))
    sdk = Sdk(declared_by(snapshot))
    sdk.instruments.publish(snapshot)
    assert comparable(sdk.sent()) == comparable(sent_by_agent(snapshot))


def declared_by(snapshot: Snapshot) -> Mapping[str, list[Series]]:
    declared: dict[str, list[Series]] = {}
    for table in snapshot.tables:
        declared.setdefault(table.probe, []).extend(table.series)
    return declared


def test_what_differs_is_what_the_page_says() -> None:
    """The times of a point, and that there are histograms."""
    before_ns = time.time_ns()
    sdk = Sdk(DECLARED)
    snapshot = make_snapshot(
        make_table({(4026534001, ()): (7,)}, OPENS),
        HistogramTable("tcp", (RTT,), {(4026534001, ()): (Distribution((1, 0, 5, 2), 3.5),)}),
    )
    sdk.instruments.publish(snapshot)
    [metric] = sdk.sent().resource_metrics[0].scope_metrics[0].metrics
    [point] = metric.sum.data_points
    assert before_ns <= point.start_time_unix_nano <= time.time_ns()
    assert before_ns <= point.time_unix_nano <= time.time_ns()
    of_agent, histogram = sent_by_agent(snapshot).resource_metrics[0].scope_metrics[0].metrics
    assert (of_agent.name, histogram.name) == (metric.name, RTT.name)
    [kernels] = of_agent.sum.data_points
    assert (kernels.start_time_unix_nano, kernels.time_unix_nano) == (START_NS, TIME_NS)


def test_nothing_is_shown_once_cleared() -> None:
    sdk = Sdk(DECLARED)
    sdk.instruments.publish(make_snapshot())
    assert sdk.sent().resource_metrics
    sdk.instruments.clear()
    assert not sdk.sent().resource_metrics


@pytest.mark.parametrize(
    ("views", "overflows"),
    [((), True), ((View(instrument_name="inspector_*", aggregation_cardinality_limit=100_000),), False)],
)
def test_the_sdk_keeps_the_attributes_of_pods_that_are_gone(views: tuple[View, ...], overflows: bool) -> None:
    sdk = Sdk({"tcp": (OPENS,)}, *views)
    for first in (0, 1_000, 2_000):
        pods = tuple(make_entity(netns) for netns in range(first, first + 1_000))
        snapshot = make_snapshot(make_table({(pod.netns_cookie, ()): (1,) for pod in pods}, OPENS), entities=pods)
        sdk.instruments.publish(snapshot)
        [resource] = sdk.sent().resource_metrics
    points = resource.scope_metrics[0].metrics[0].sum.data_points
    assert len(points) == (1 if overflows else 1_000)
    assert any(attribute.key == OVERFLOW for point in points for attribute in point.attributes) == overflows


def test_the_sdk_takes_every_instrument_as_it_is_declared(caplog: pytest.LogCaptureFixture) -> None:
    declared = {name: probe.series for name, probe in catalogue().items()}
    sdk = Sdk(declared)
    tables = tuple(
        make_table({(4026534001, ("a",) * len(series.labels)): (1,)}, series, probe=probe)
        for probe, all_series in declared.items()
        for series in all_series
        if series.kind is not Kind.HISTOGRAM
    )
    snapshot = make_snapshot(*tables)
    sdk.instruments.publish(snapshot)
    assert comparable(sdk.sent()) == comparable(sent_by_agent(snapshot))
    assert not caplog.records
