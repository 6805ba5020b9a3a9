"""Delivery, to receivers that accept, fail and complain: every item is accounted for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsPartialSuccess, ExportLogsServiceResponse
from opentelemetry.sdk.resources import Resource

from lab.waiting import eventually
from otel_netagent.outputs.otlp.logs import Observed
from otel_netagent.outputs.otlp.metrics import MetricsEncoder
from otel_netagent.outputs.sending import (
    NO_POD,
    Cause,
    Delivery,
    EncodedRequest,
    Limits,
    PodName,
    SpoolPlace,
    close_all,
)
from tests.outputs.otlp.receivers import HttpAnswer, fail, grpc_receiver, hang, http_receiver, respond
from tests.outputs.otlp.sending import dead_port, grpc_destination, http_destination
from tests.outputs.samples import NODE, TIME_NS, make_entity, make_event, make_snapshot
from tests.outputs.sending.deliveries import (
    IMPATIENT,
    NOTHING,
    POINTS,
    lines,
    log_delivery,
    metric_delivery,
    numbers_received,
    observed,
    times,
)
from tests.outputs.sending.numbers import Numbers, Steady, Whims


def test_what_cannot_be_taken_now_arrives_once_it_can(caplog: pytest.LogCaptureFixture) -> None:
    down = fail(grpc.StatusCode.UNAVAILABLE)
    with grpc_receiver(down, down, down) as receiver:
        delivery = metric_delivery(grpc_destination(receiver.port))
        delivery.put(make_snapshot())
        eventually(lambda: delivery.statistics.delivered)
        close_all([delivery])
    assert times(receiver) == [TIME_NS] * 4
    assert (delivery.statistics.delivered, delivery.statistics.dropped) == (POINTS, NOTHING)
    begins, ends = lines(caplog)
    assert begins == (
        f"OTLP metrics: 127.0.0.1:{receiver.port} is unavailable, retrying: UNAVAILABLE: as the test wants it"
    )
    assert ends.startswith(f"OTLP metrics: 127.0.0.1:{receiver.port} accepts requests again, after ")


def test_receiver_that_comes_back_is_found_by_the_same_channel() -> None:
    with dead_port() as port:
        delivery = metric_delivery(grpc_destination(port))
        delivery.put(make_snapshot())
    with grpc_receiver(port=port) as receiver:
        eventually(lambda: delivery.statistics.delivered == POINTS)
        assert len(receiver.received) == 1
        close_all([delivery])


def test_retry_after_is_waited_for() -> None:
    with http_receiver(HttpAnswer(429, headers={"Retry-After": "1"})) as receiver:
        delivery = metric_delivery(http_destination(receiver.port))
        delivery.put(make_snapshot())
        eventually(lambda: receiver.received)
        refused = time.monotonic()
        eventually(lambda: delivery.statistics.delivered)
        assert time.monotonic() - refused > 0.9
        close_all([delivery])
    assert len(receiver.received) == 2


def test_rejected_part_is_counted_and_the_complaint_said_once(caplog: pytest.LogCaptureFixture) -> None:
    partial = ExportLogsPartialSuccess(rejected_log_records=2, error_message="too old")
    answer = respond(ExportLogsServiceResponse(partial_success=partial))
    with grpc_receiver(answer, answer) as receiver:
        delivery = log_delivery(grpc_destination(receiver.port), Limits(capacity=100, batch=3, linger_s=60))
        for number in range(6):
            delivery.put(observed(number))
        eventually(lambda: delivery.statistics.delivered == 2)
        close_all([delivery])
    assert delivery.statistics.dropped == NOTHING | {Cause.REJECTED: 4}
    assert lines(caplog) == [f"OTLP logs: 127.0.0.1:{receiver.port} reports: rejected 2: too old"]


def test_refused_request_is_dropped_and_the_next_one_sent(caplog: pytest.LogCaptureFixture) -> None:
    with http_receiver(HttpAnswer(400)) as receiver:
        delivery = metric_delivery(http_destination(receiver.port))
        for _ in range(3):
            delivery.put(make_snapshot())
        eventually(lambda: delivery.statistics.delivered == 2 * POINTS)
        close_all([delivery])
    assert len(receiver.received) == 3
    assert delivery.statistics.dropped == NOTHING | {Cause.PERMANENT: POINTS}
    assert f":{receiver.port}/v1/metrics rejects requests: HTTP status 400" in lines(caplog)[0]


def test_full_memory_keeps_the_newest() -> None:
    with grpc_receiver(hang) as receiver:
        [request] = MetricsEncoder(Resource({}), NODE).encode([make_snapshot()])
        three = Limits(capacity=12, memory_bytes=3 * len(request.body))
        delivery = metric_delivery(grpc_destination(receiver.port), three)
        delivery.put(make_snapshot(time_ns=TIME_NS))
        eventually(lambda: receiver.received)
        for number in range(1, 6):
            delivery.put(make_snapshot(time_ns=TIME_NS + number))
        eventually(lambda: delivery.statistics.dropped == NOTHING | {Cause.QUEUE_FULL: 3 * POINTS})
        assert delivery.statistics.queued == 3 * POINTS
        receiver.hold.set()
        eventually(lambda: delivery.statistics.delivered == 3 * POINTS)
        close_all([delivery])
    assert times(receiver) == [TIME_NS, TIME_NS + 4, TIME_NS + 5]


def test_events_travel_in_full_batches_or_when_they_have_waited_long_enough() -> None:
    with grpc_receiver() as receiver:
        delivery = log_delivery(grpc_destination(receiver.port), Limits(capacity=100, batch=4, linger_s=0.5))
        for number in range(10):
            delivery.put(observed(number))
        eventually(lambda: delivery.statistics.delivered == 10)
        close_all([delivery])
    assert numbers_received(receiver) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def produce(delivery: Delivery[int], numbers: int) -> None:
    """Have three threads put numbers, each number once."""

    def produce(first: int) -> None:
        for number in range(first, numbers, 3):
            delivery.put(number)

    producers = [threading.Thread(target=produce, args=(first,)) for first in range(3)]
    for producer in producers:
        producer.start()
    for producer in producers:
        producer.join()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spooled", [False, True])
def test_everything_put_is_delivered_or_counted(seed: int, spooled: bool, tmp_path: Path) -> None:
    transport = Whims(seed)
    limits = Limits(capacity=50, batch=12, linger_s=0.001, memory_bytes=400)
    spool = SpoolPlace(tmp_path, 2_000) if spooled else None
    delivery = Delivery("numbers", Numbers(), transport, limits, backoff=IMPATIENT, spool=spool)
    produce(delivery, 6_000)
    eventually(lambda: delivery.statistics.queued == delivery.statistics.spool_bytes == 0)
    close_all([delivery])
    statistics = delivery.statistics
    assert statistics.delivered + sum(statistics.dropped.values()) == 6_000
    assert statistics.delivered == len(transport.accepted) - transport.rejected
    assert len(set(transport.accepted)) == len(transport.accepted)
    assert statistics.dropped[Cause.SPOOL_FULL if spooled else Cause.QUEUE_FULL] > 0
    assert statistics.dropped[Cause.SHUTDOWN] == statistics.dropped[Cause.DAMAGED] == 0
    assert {pod: statistics.dropped_by_pod[Cause.PERMANENT, pod] for pod in transport.refused} == transport.refused
    for cause in Cause:
        by_pod = sum(count for (each, _), count in statistics.dropped_by_pod.items() if each is cause)
        assert by_pod == statistics.dropped[cause]


class _OneAtATime(Numbers):
    """An encoder that is not for several threads at once, and notices."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self.disturbed = False

    def encode(self, items: Sequence[int]) -> list[EncodedRequest]:
        self.disturbed |= not self._busy.acquire(blocking=False)
        time.sleep(0)  # lets other threads run
        requests = super().encode(items)
        self._busy.release()
        return requests


def test_who_puts_more_than_is_packed_helps_and_keeps_the_order() -> None:
    encoder, transport = _OneAtATime(), Steady()
    delivery = Delivery("numbers", encoder, transport, Limits(capacity=16, batch=8))
    for number in range(20_000):
        delivery.put(number)
    close_all([delivery], within_s=10)
    assert transport.accepted == list(range(20_000))
    assert not encoder.disturbed


def test_pod_of_what_was_rejected_is_told_where_it_is_certain() -> None:
    pods = [make_entity(4026534000 + number, pod=f"web-{number}") for number in range(2)]
    some = respond(ExportLogsServiceResponse(partial_success=ExportLogsPartialSuccess(rejected_log_records=1)))
    every = respond(ExportLogsServiceResponse(partial_success=ExportLogsPartialSuccess(rejected_log_records=2)))
    with grpc_receiver(some, every, some) as receiver:
        delivery = log_delivery(grpc_destination(receiver.port), Limits(capacity=100, batch=2, linger_s=60))
        for pod in (*pods, *pods, pods[1], pods[1]):
            delivery.put(Observed(make_event(pod), TIME_NS))
        eventually(lambda: delivery.statistics.delivered == 2)
        close_all([delivery])
    assert delivery.statistics.dropped_by_pod == {
        (Cause.REJECTED, NO_POD): 1,
        (Cause.REJECTED, PodName("shop", "web-0")): 1,
        (Cause.REJECTED, PodName("shop", "web-1")): 2,
    }


def test_failures_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), dead_port() as port:
        delivery = metric_delivery(http_destination(port))
        for _ in range(5):
            delivery.put(make_snapshot())
        close_all([delivery])
    first, last = lines(caplog)
    assert "is unavailable, retrying: [Errno 111] Connection refused" in first
    assert "dropped 10 at shutdown" in last
