"""A namespace that gets the inode number of one that is gone begins anew in every output, whatever it is called."""

from __future__ import annotations

import contextlib
import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint, Metric, NumberDataPoint
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from lab.links import Host, loopback
from lab.namespace import Namespace
from lab.sockets import datagram, listening, stream
from lab.truth import Family
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.identity.entity import Entity
from otel_netagent.identity.registry import Registry
from otel_netagent.instrumentor.instruments import Instruments
from otel_netagent.model.table import Distribution, HistogramTable
from otel_netagent.outputs.http.prometheus import PrometheusText
from otel_netagent.outputs.otlp.metrics import MetricsEncoder
from otel_netagent.outputs.stream import inspector_pb2 as pb
from otel_netagent.outputs.stream.messages import metric_response
from otel_netagent.pipeline.collector import Collector
from otel_netagent.pipeline.kernel_access import find_kernel_access
from otel_netagent.probes import catalogue
from tests.agent.exposition import Exposition
from tests.identity.reused import SEVERAL, namespace_with_one_of
from tests.outputs.samples import DROPS, NODE, OPENS, RTT, START_NS, TIME_NS, make_entity, make_snapshot, make_table
from tests.probes.collected import environment

INODE = 4026534001
PROBES = ("udp", "tcpsummary", "packetloss", "io")
MANY = 4 * SEVERAL
"""Each number that is waited for may go to a namespace of somebody else's."""

TICK_NS = 10_000_000
"""Start times of processes are known to the tick (proc_pid_stat(5))."""

ROUND_TRIPS, SENT, LOST = (
    "inspector_pod_tcpsummarytcprtt_count",
    "inspector_pod_udpoutdatagrams",
    "inspector_pod_packetloss_total",
)


@dataclass(frozen=True, slots=True)
class Point:
    """A value, and where it began to count; of a histogram how many it holds."""

    start_ns: int
    value: float


class Outputs:
    """Every output of numbers that keeps something from one snapshot to the next, or might."""

    def __init__(self) -> None:
        """Nothing has been published."""
        self._text = PrometheusText(NODE)
        self._encoder = MetricsEncoder(Resource({}), NODE)
        self._reader = InMemoryMetricReader()
        provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self._instruments = Instruments(provider, {"tcp": (OPENS,), "udp": catalogue()["udp"].series}, NODE)

    def prometheus(self, snapshot: Snapshot, inode: int) -> Mapping[str, float]:
        """Samples of a namespace, by name; several of one name added up."""
        found: defaultdict[str, float] = defaultdict(float)
        for (name, labels), value in Exposition.parse(b"".join(self._text.render(snapshot)).decode()).values.items():
            if ("netns", f"ns{inode}") in labels:
                found[name] += value
        return found

    def otlp(self, snapshot: Snapshot, inode: int) -> Mapping[str, Sequence[Point]]:
        """Points of a namespace that count, by metric."""
        [request] = self._encoder.encode([snapshot])
        return _points(request.body, inode)

    def sdk(self, snapshot: Snapshot, inode: int) -> Mapping[str, float]:
        """Values of what counts by the instruments of a namespace, by metric."""
        self._instruments.publish(snapshot)
        data = self._reader.get_metrics_data()
        points = _points(encode_metrics(data).SerializeToString(), inode) if data else {}
        return {name: sum(point.value for point in each) for name, each in points.items()}

    def stream(self, snapshot: Snapshot, inode: int) -> Mapping[str, int]:
        """Numbers of a namespace, by name."""
        request = pb.QueryMetricRequest(filter=pb.Meta(netns=f"ns{inode}"))
        return {metric.name: metric.exact_value for metric in metric_response(NODE, snapshot, request).metrics}


def _points(body: bytes, inode: int) -> Mapping[str, Sequence[Point]]:
    request = ExportMetricsServiceRequest.FromString(body)
    return {
        metric.name: [
            Point(point.start_time_unix_nano, _value(point))
            for point in _counting(metric)
            if f"ns{inode}" in {each.value.string_value for each in point.attributes}
        ]
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def _counting(metric: Metric) -> list[NumberDataPoint | HistogramDataPoint]:
    return [*metric.sum.data_points, *metric.histogram.data_points]


def _value(point: NumberDataPoint | HistogramDataPoint) -> float:
    return point.count if isinstance(point, HistogramDataPoint) else point.as_int


def test_the_next_namespace_with_an_inode_shows_its_own_numbers_though_it_has_the_same_name() -> None:
    outputs = Outputs()
    for cookie, start_ns, count in ((1, START_NS, 100), (2, START_NS + 77, 3)):
        entity = make_entity(INODE, netns_cookie=cookie, start_ns=start_ns)
        snapshot = make_snapshot(
            make_table({(cookie, ()): (count,)}, OPENS),
            make_table({(cookie, ("NO_SOCKET",)): (count,)}, DROPS),
            HistogramTable("tcp", (RTT,), {(cookie, ()): (Distribution((count, 0, 0, 0), 0.5),)}),
            entities=(entity,),
            time_ns=TIME_NS + cookie,
        )
        expected = {OPENS.name: count, DROPS.name: count, f"{RTT.name}_count": count}
        assert expected.items() <= outputs.prometheus(snapshot, INODE).items()
        assert expected.items() <= outputs.stream(snapshot, INODE).items()
        point = [Point(start_ns, count)]
        assert outputs.otlp(snapshot, INODE) == {OPENS.name: point, DROPS.name: point, RTT.name: point}
        assert outputs.sdk(snapshot, INODE) == {OPENS.name: count}


@pytest.mark.parametrize("output", [Outputs.prometheus, Outputs.otlp, Outputs.sdk])
def test_nothing_is_kept_of_a_namespace_that_is_gone(output: Callable[[Outputs, Snapshot, int], object]) -> None:
    outputs, name = Outputs(), f"gone by {output.__name__}"

    def is_kept() -> bool:
        gc.collect()
        return any(isinstance(each, Entity) and each.pod == name for each in gc.get_objects())

    output(outputs, make_snapshot(entities=(make_entity(INODE, netns_cookie=1, pod=name),)), INODE)
    assert is_kept()
    output(outputs, make_snapshot(entities=(make_entity(INODE, netns_cookie=2),)), INODE)
    assert not is_kept()


@pytest.fixture
def collector() -> Iterator[Collector]:
    access = find_kernel_access()
    with contextlib.closing(access.walk.walk) as walk, ExitStack() as running:
        probes = {
            name: running.enter_context(contextlib.closing(catalogue()[name].start(environment(access))))
            for name in PROBES
        }
        yield Collector(walk, Registry(), probes, [], interval_s=1)


def use(host: Host, alive: ExitStack) -> None:
    """Send a datagram to nobody, and have a connection that has measured its round trip."""
    with datagram(host, Family.IPV4) as sender, datagram(host, Family.IPV4) as closed:
        nobody = closed.getsockname()
        closed.close()
        sender.sendto(b"x", nobody)
    server = alive.enter_context(listening(host, Family.IPV4))
    alive.enter_context(stream(host, Family.IPV4)).connect(server.getsockname())


def test_the_kernels_next_namespace_with_an_inode_begins_anew_in_every_output(collector: Collector) -> None:
    outputs = Outputs()
    with ExitStack() as alive:
        old = [alive.enter_context(Namespace()) for _ in range(MANY)]
        for each in old:
            use(loopback(each).client, alive)
        before, began_ns = collector.collect(), time.time_ns()
    outputs.sdk(before, old[0].inode)
    shown = {each.inode: (outputs.prometheus(before, each.inode), outputs.otlp(before, each.inode)) for each in old}
    with namespace_with_one_of([each.inode for each in old]) as new:
        text, points = shown[new.inode]
        assert (text[SENT], text[LOST], text[ROUND_TRIPS]) == (1, 1, 2)
        assert [point.value for point in points[SENT]] == [1]
        after = collector.collect()
        text = outputs.prometheus(after, new.inode)
        assert (text[SENT], text[LOST], text.get(ROUND_TRIPS)) == (0, 0, None)
        assert {**outputs.stream(after, new.inode), SENT: 0, LOST: 0} == outputs.stream(after, new.inode)
        assert outputs.sdk(after, new.inode)[SENT] == 0
        starts = [point.start_ns for each in outputs.otlp(after, new.inode).values() for point in each]
        assert starts
        assert min(starts) > began_ns - TICK_NS > max(each.start_ns for each in points[SENT])
