"""Delivery, to receivers that accept, fail, complain, hang and are not there: every item is accounted for."""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_netagent.telemetry.delivery import Backoff, Cause, Delivery, Limits, close_all
from otel_netagent.telemetry.otlp.connect import connect
from otel_netagent.telemetry.otlp.environment import Destination, Signal
from otel_netagent.telemetry.otlp.logs import LogsEncoder, Observed
from otel_netagent.telemetry.otlp.metrics import MetricsEncoder
from otel_netagent.telemetry.outcome import Accepted, Outcome, Refused, Retryable
from otel_netagent.telemetry.snapshot import Snapshot
from tests.lab.waiting import eventually
from tests.telemetry.otlp.receivers import HttpAnswer, Receiver, fail, grpc_receiver, hang, http_receiver, respond
from tests.telemetry.otlp.sending import dead_port, grpc_destination, http_destination
from tests.telemetry.samples import NODE, TIME_NS, make_event, make_snapshot

QUICK = Backoff(first_s=0.01, most_s=0.05)
POINTS = 2  # of make_snapshot()
NOTHING = dict.fromkeys(Cause, 0)


def log_delivery(destination: Destination, limits: Limits) -> Delivery[Observed, ExportLogsServiceRequest]:
    encoder = LogsEncoder(Resource({}), NODE)
    return Delivery("OTLP logs", encoder, connect(replace(destination, signal=Signal.LOGS)), limits, QUICK)


def metric_delivery(
    destination: Destination, limits: Limits | None = None
) -> Delivery[Snapshot, ExportMetricsServiceRequest]:
    encoder = MetricsEncoder(Resource({}), NODE)
    return Delivery("OTLP metrics", encoder, connect(destination), limits or Limits(capacity=12), QUICK)


def observed(number: int) -> Observed:
    return Observed(make_event(time_ns=TIME_NS + number), TIME_NS)


def numbers(receiver: Receiver) -> list[list[int]]:
    """Which events each request brought, by the numbers that `observed` gave them."""
    requests = [received.request for received in receiver.received]
    assert all(isinstance(request, ExportLogsServiceRequest) for request in requests)
    return [
        [
            record.time_unix_nano - TIME_NS
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]
        for request in requests
        if isinstance(request, ExportLogsServiceRequest)
    ]


def times(receiver: Receiver) -> list[int]:
    """The time of each snapshot that came in."""
    return [
        received.request.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0].time_unix_nano
        for received in receiver.received
        if isinstance(received.request, ExportMetricsServiceRequest)
    ]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("otel_netagent")]


def test_what_cannot_be_taken_now_arrives_once_it_can(caplog: pytest.LogCaptureFixture) -> None:
    down = fail(grpc.StatusCode.UNAVAILABLE)
    with grpc_receiver(down, down, down) as receiver:
        delivery = metric_delivery(grpc_destination(receiver.port))
        delivery.put(make_snapshot())
        eventually(lambda: delivery.tally.delivered)
        close_all([delivery])
    assert times(receiver) == [TIME_NS] * 4
    assert (delivery.tally.delivered, delivery.tally.let_go) == (POINTS, NOTHING)
    begins, ends = lines(caplog)
    assert begins == (f"OTLP metrics: 127.0.0.1:{receiver.port} does not take them: UNAVAILABLE: as the test wants it")
    assert ends.startswith(f"OTLP metrics: 127.0.0.1:{receiver.port} takes them again, after ")


def test_receiver_that_comes_back_is_found_by_the_same_channel() -> None:
    with dead_port() as port:
        delivery = metric_delivery(grpc_destination(port))
        delivery.put(make_snapshot())
    with grpc_receiver(port=port) as receiver:
        eventually(lambda: delivery.tally.delivered == POINTS)
        assert len(receiver.received) == 1
        close_all([delivery])


def test_retry_after_is_waited_for() -> None:
    with http_receiver(HttpAnswer(429, headers={"Retry-After": "1"})) as receiver:
        delivery = metric_delivery(http_destination(receiver.port))
        delivery.put(make_snapshot())
        eventually(lambda: receiver.received)
        refused = time.monotonic()
        eventually(lambda: delivery.tally.delivered)
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
        eventually(lambda: delivery.tally.delivered == 2)
        close_all([delivery])
    assert delivery.tally.let_go == NOTHING | {Cause.REJECTED: 4}
    assert lines(caplog) == [f"OTLP logs: 127.0.0.1:{receiver.port} says: rejected 2: too old"]


def test_refused_request_is_let_go_and_the_next_one_sent() -> None:
    with http_receiver(HttpAnswer(400)) as receiver:
        delivery = metric_delivery(http_destination(receiver.port))
        for _ in range(3):
            delivery.put(make_snapshot())
        eventually(lambda: delivery.tally.delivered == 2 * POINTS)
        close_all([delivery])
    assert len(receiver.received) == 3
    assert delivery.tally.let_go == NOTHING | {Cause.PERMANENT: POINTS}


def test_full_queue_keeps_the_newest() -> None:
    with grpc_receiver(hang) as receiver:
        delivery = metric_delivery(grpc_destination(receiver.port), Limits(capacity=2))
        delivery.put(make_snapshot(time_ns=TIME_NS))
        eventually(lambda: receiver.received)
        for number in range(1, 6):
            delivery.put(make_snapshot(time_ns=TIME_NS + number))
        assert delivery.tally.let_go == NOTHING | {Cause.QUEUE_FULL: 3 * POINTS}
        receiver.hold.set()
        eventually(lambda: delivery.tally.delivered == 3 * POINTS)
        close_all([delivery])
    assert times(receiver) == [TIME_NS, TIME_NS + 4, TIME_NS + 5]


def test_events_travel_in_full_batches_or_when_they_have_waited_long_enough() -> None:
    with grpc_receiver() as receiver:
        delivery = log_delivery(grpc_destination(receiver.port), Limits(capacity=100, batch=4, linger_s=0.5))
        for number in range(10):
            delivery.put(observed(number))
        eventually(lambda: delivery.tally.delivered == 10)
        close_all([delivery])
    assert numbers(receiver) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_end_sends_what_is_waiting_without_further_delay() -> None:
    with grpc_receiver() as receiver:
        delivery = log_delivery(grpc_destination(receiver.port), Limits(capacity=100, batch=3, linger_s=60))
        for number in range(5):
            delivery.put(observed(number))
        close_all([delivery])
        delivery.put(observed(5))
    assert sorted(itertools.chain.from_iterable(numbers(receiver))) == [0, 1, 2, 3, 4]
    assert delivery.tally.delivered == 5
    assert delivery.tally.let_go == NOTHING | {Cause.SHUTDOWN: 1}


@contextmanager
def hanging_grpc() -> Iterator[Destination]:
    with grpc_receiver(*[hang] * 9) as receiver:
        yield grpc_destination(receiver.port)


@contextmanager
def hanging_http() -> Iterator[Destination]:
    with http_receiver(*[HttpAnswer(hangs=True)] * 9) as receiver:
        yield http_destination(receiver.port)


@contextmanager
def dead_grpc() -> Iterator[Destination]:
    with dead_port() as port:
        yield grpc_destination(port)


@contextmanager
def dead_http() -> Iterator[Destination]:
    with dead_port() as port:
        yield http_destination(port)


@pytest.mark.parametrize("receiver", [hanging_grpc, hanging_http, dead_grpc, dead_http])
def test_end_is_in_time_whatever_the_receiver_does(
    receiver: Callable[[], AbstractContextManager[Destination]], caplog: pytest.LogCaptureFixture
) -> None:
    with receiver() as destination:
        metrics = metric_delivery(destination)
        logs = log_delivery(destination, Limits(capacity=100, batch=3, linger_s=0.0))
        for number in range(7):
            metrics.put(make_snapshot())
            logs.put(observed(number))
        started = time.monotonic()
        close_all([metrics, logs], within_s=0.5)
        assert time.monotonic() - started < 1.5
    assert (metrics.tally.delivered, metrics.tally.let_go) == (0, NOTHING | {Cause.SHUTDOWN: 7 * POINTS})
    assert (logs.tally.delivered, logs.tally.let_go) == (0, NOTHING | {Cause.SHUTDOWN: 7})
    assert any(line.startswith("OTLP logs: 7 not delivered to ") for line in lines(caplog))
    eventually(lambda: not any(thread.name.startswith("OTLP") for thread in threading.enumerate()))


class _Whims:
    """A transport whose outcomes are drawn at random."""

    target = "nowhere"

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self.accepted = 0

    def send(self, request: Sequence[int]) -> Outcome:
        outcomes: list[Outcome] = [Accepted(), Accepted(rejected=1), Retryable("busy"), Refused("never")]
        outcome = self._random.choice(outcomes)
        if isinstance(outcome, Accepted):
            self.accepted += len(request) - outcome.rejected
        return outcome

    def close(self) -> None:
        pass


class _Numbers:
    """An encoder that leaves its items as they are."""

    def encode(self, items: Sequence[int]) -> Sequence[int]:
        return items

    def count(self, item: int) -> int:  # noqa: ARG002 - each counts one
        return 1


@pytest.mark.parametrize("seed", range(5))
def test_everything_put_is_delivered_or_counted(seed: int) -> None:
    transport = _Whims(seed)
    limits = Limits(capacity=50, batch=7, linger_s=0.001)
    delivery = Delivery("numbers", _Numbers(), transport, limits, Backoff(first_s=0.0001, most_s=0.001))

    def produce() -> None:
        for number in range(2_000):
            delivery.put(number)

    producers = [threading.Thread(target=produce) for _ in range(3)]
    for producer in producers:
        producer.start()
    for producer in producers:
        producer.join()
    close_all([delivery])
    tally = delivery.tally
    assert tally.delivered + sum(tally.let_go.values()) == 6_000
    assert tally.delivered == transport.accepted
    assert tally.let_go[Cause.QUEUE_FULL] > 0


def test_failures_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), dead_port() as port:
        delivery = metric_delivery(http_destination(port))
        for _ in range(5):
            delivery.put(make_snapshot())
        close_all([delivery])
    first, last = lines(caplog)
    assert "does not take them: [Errno 111] Connection refused" in first
    assert "not delivered" in last


@given(st.floats(0.001, 10), st.floats(0.001, 100))
def test_pauses_double_up_to_the_longest(first_s: float, most_s: float) -> None:
    pauses = list(itertools.islice(Backoff(first_s, most_s).pauses(), 12))
    for number, pause in enumerate(pauses):
        longest = first_s if number == 0 else min(first_s * 2**number, most_s)
        assert longest / 2 <= pause <= longest
