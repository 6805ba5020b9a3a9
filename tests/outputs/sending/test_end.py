"""The end of a delivery: in time, whatever the receiver does, and what is left is kept or counted."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from lab.waiting import eventually
from otel_netagent.outputs.otlp.environment import Destination
from otel_netagent.outputs.sending import Cause, Limits, close_all
from tests.outputs.otlp.receivers import HttpAnswer, grpc_receiver, hang, http_receiver
from tests.outputs.otlp.sending import dead_port, grpc_destination, http_destination
from tests.outputs.samples import make_snapshot
from tests.outputs.sending.deliveries import (
    NOTHING,
    POINTS,
    lines,
    log_delivery,
    metric_delivery,
    numbers_received,
    observed,
)


def test_end_sends_what_is_waiting_without_further_delay() -> None:
    with grpc_receiver() as receiver:
        delivery = log_delivery(grpc_destination(receiver.port), Limits(capacity=100, batch=3, linger_s=60))
        for number in range(5):
            delivery.put(observed(number))
        close_all([delivery])
        delivery.put(observed(5))
    assert sorted(itertools.chain.from_iterable(numbers_received(receiver))) == [0, 1, 2, 3, 4]
    assert delivery.statistics.delivered == 5
    assert delivery.statistics.dropped == NOTHING | {Cause.SHUTDOWN: 1}


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
    assert (metrics.statistics.delivered, metrics.statistics.dropped) == (0, NOTHING | {Cause.SHUTDOWN: 7 * POINTS})
    assert (logs.statistics.delivered, logs.statistics.dropped) == (0, NOTHING | {Cause.SHUTDOWN: 7})
    assert any(line.startswith("OTLP logs: dropped 7 at shutdown: ") for line in lines(caplog))
    eventually(lambda: not any(thread.name.startswith("OTLP") for thread in threading.enumerate()))


@pytest.mark.parametrize("within_s", [0.0, 0.5])
def test_what_is_left_at_the_end_waits_for_the_next_start(
    within_s: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), dead_port() as port:
        delivery = log_delivery(grpc_destination(port), Limits(capacity=100, batch=3, linger_s=60), tmp_path)
        for number in range(7):
            delivery.put(observed(number))
        close_all([delivery], within_s)
    assert delivery.statistics.dropped == NOTHING
    assert lines(caplog)[-1].endswith("bytes stay in the spool until the next start")
    with grpc_receiver() as receiver:
        delivery = log_delivery(grpc_destination(receiver.port), Limits(capacity=100), tmp_path)
        eventually(lambda: delivery.statistics.delivered == 7)
        close_all([delivery])
    assert sorted(itertools.chain.from_iterable(numbers_received(receiver))) == list(range(7))
