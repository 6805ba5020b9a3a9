"""QueryMetric: numbers of the latest collection."""

from __future__ import annotations

import dataclasses

import grpc
import pytest

from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Distribution, HistogramTable, Table
from otel_netagent.outputs.stream import inspector_pb2 as pb
from otel_netagent.outputs.stream.messages import metric_response
from otel_netagent.outputs.stream.service import EventStream
from tests.outputs.stream.original_client import OriginalClient
from tests.outputs.stream.samples import DB, NODE, OPENS, SNAPSHOT, WEB

OPENS_OF_WEB = ("inspector_pod_tcpactiveopens", "web-0", 2.0**24)
OPENS_OF_DB = ("inspector_pod_tcpactiveopens", "db-0", 5.0)
DROPS_OF_WEB = [("inspector_pod_packetloss", "web-0", 3.0), ("inspector_pod_packetloss", "web-0", 4.0)]


@pytest.mark.parametrize(
    ("name", "meta", "expected"),
    [
        ("", {}, [OPENS_OF_WEB, OPENS_OF_DB, *DROPS_OF_WEB]),
        ("inspector_pod_tcpactiveopens", {}, [OPENS_OF_WEB, OPENS_OF_DB]),
        ("inspector_pod_tcpactiveopenes", {}, [OPENS_OF_WEB, OPENS_OF_DB]),
        ("tcp", {}, [OPENS_OF_WEB, OPENS_OF_DB]),
        ("packetloss", {}, DROPS_OF_WEB),
        ("tcp", {"namespace": "data"}, [OPENS_OF_DB]),
        ("tcp", {"netns": "ns4026532222"}, [OPENS_OF_DB]),
        ("tcp", {"pod": "web-0", "node": NODE}, [OPENS_OF_WEB]),
        ("", {"node": "another"}, []),
        ("nothing", {}, []),
    ],
)
def test_names_and_filters(
    stream: EventStream,
    client: OriginalClient,
    name: str,
    meta: dict[str, str],
    expected: list[tuple[str, str, float]],
) -> None:
    stream.publish_snapshot(SNAPSHOT)
    answered, metrics = client.query(name, **meta)
    assert answered == name
    assert [(metric.name, metric.meta.pod, metric.value) for metric in metrics] == expected


def test_what_was_added_tells_the_exact_value_the_labels_and_the_time() -> None:
    answer = metric_response(NODE, SNAPSHOT, pb.QueryMetricRequest(filter=pb.Meta(pod="web-0")))
    assert answer.time_unix_nano == SNAPSHOT.time_ns
    assert [(metric.exact_value, dict(metric.labels)) for metric in answer.metrics] == [
        (2**24 + 1, {}),
        (3, {"reason": "NO_SOCKET"}),
        (4, {"reason": "TCP_CSUM"}),
    ]


def test_a_histogram_is_told_as_prometheus_writes_it() -> None:
    rtt = Series("inspector_pod_rtt", Kind.HISTOGRAM, "s", "h", "s", bounds=(0.5,))
    table = HistogramTable("tcpsummary", (rtt,), {(WEB.netns_cookie, ()): (Distribution((3, 1), 2.25),)})
    snapshot = Snapshot(1, {WEB.netns_cookie: WEB}, (table,))
    answer = metric_response(NODE, snapshot, pb.QueryMetricRequest(name=rtt.name))
    assert [(each.name, each.value, each.exact_value, dict(each.labels)) for each in answer.metrics] == [
        ("inspector_pod_rtt_bucket", 3.0, 3, {"le": "0.5"}),
        ("inspector_pod_rtt_bucket", 4.0, 4, {"le": "+Inf"}),
        ("inspector_pod_rtt_sum", 2.25, 0, {}),
        ("inspector_pod_rtt_count", 4.0, 4, {}),
    ]


def test_latest_snapshot_answers(stream: EventStream, client: OriginalClient) -> None:
    stream.publish_snapshot(SNAPSHOT)
    table = Table("tcp", (OPENS,), {(DB.netns_cookie, ()): (6,)})
    stream.publish_snapshot(Snapshot(1, {DB.netns_cookie: DB}, (table,)))
    assert [metric.value for metric in client.query()[1]] == [6.0]


def test_before_the_first_collection(client: OriginalClient) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        client.query()
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
    assert refusal.value.details() == "nothing has been collected yet; is metric_config.enable true?"


def test_answer_that_no_client_would_take_is_refused_with_what_to_do(
    stream: EventStream, client: OriginalClient
) -> None:
    entities = {n: dataclasses.replace(WEB, netns=n) for n in range(60_000)}
    table = Table("tcp", (OPENS,), {(n, ()): (n,) for n in entities})
    stream.publish_snapshot(Snapshot(1, entities, (table,)))
    with pytest.raises(grpc.RpcError) as refusal:
        client.query()
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(refusal.value.details()).endswith("ask for one series, probe, pod or namespace")
    assert len(client.query("tcp", netns="ns7")[1]) == 1
