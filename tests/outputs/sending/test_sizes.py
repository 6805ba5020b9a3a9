"""Requests of a size that the receiver takes."""

from __future__ import annotations

import re

import grpc
import pytest
from google.rpc.status_pb2 import Status

from lab.waiting import eventually
from otel_netagent.outputs.otlp.environment import Destination, Signal
from otel_netagent.outputs.otlp.logs import Observed
from otel_netagent.outputs.sending import Cause, Delivery, Limits, PodName, close_all
from otel_netagent.outputs.sending.request_size import FLOOR_BYTES
from tests.outputs.otlp.receivers import TOO_LARGE, HttpAnswer, Receiver, grpc_receiver, http_receiver
from tests.outputs.otlp.sending import grpc_destination, http_destination
from tests.outputs.samples import TIME_NS, make_event
from tests.outputs.sending.deliveries import NOTHING, lines, log_delivery, numbers_received, observed


def destination(protocol: str, receiver: Receiver, signal: Signal = Signal.LOGS) -> Destination:
    return (grpc_destination if protocol == "grpc" else http_destination)(receiver.port, signal)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("most", [2_000, 100_000])
def test_request_above_the_receivers_limit_arrives_in_parts(protocol: str, most: int) -> None:
    make = grpc_receiver if protocol == "grpc" else http_receiver
    with make(most_bytes=most) as receiver:
        delivery = log_delivery(destination(protocol, receiver), Limits(capacity=100, batch=50, linger_s=60))
        for number in range(100):
            delivery.put(Observed(make_event(time_ns=TIME_NS + number, body="x" * (most // 16)), TIME_NS))
        eventually(lambda: delivery.statistics.delivered == 100)
        close_all([delivery])
    assert [number for request in numbers_received(receiver) for number in request] == list(range(100))
    assert delivery.statistics.dropped == NOTHING
    assert delivery.statistics.failed_tries > 0
    if most > FLOOR_BYTES:
        assert delivery.statistics.failed_tries < 6, "what was rejected once is not tried again"


def test_single_item_above_the_receivers_limit_is_dropped() -> None:
    with grpc_receiver(most_bytes=1_000) as receiver:
        delivery = log_delivery(grpc_destination(receiver.port), Limits(capacity=100, batch=3, linger_s=60))
        large = make_event(body="x" * 1_000)
        for event in (make_event(), large, make_event()):
            delivery.put(Observed(event, TIME_NS))
        eventually(lambda: delivery.statistics.delivered == 2)
        close_all([delivery])
    assert delivery.statistics.dropped == NOTHING | {Cause.TOO_LARGE: 1}
    assert delivery.statistics.dropped_by_pod == {(Cause.TOO_LARGE, PodName("shop", "web-0")): 1}


def test_configured_size_is_kept_to_from_the_first_request() -> None:
    with grpc_receiver() as receiver:
        limits = Limits(capacity=100, batch=100, linger_s=60, request_bytes=1_000)
        delivery = log_delivery(grpc_destination(receiver.port), limits)
        for number in range(100):
            delivery.put(observed(number))
        eventually(lambda: delivery.statistics.delivered == 100)
        close_all([delivery])
    assert max(len(received.body) for received in receiver.received) <= 1_000
    assert delivery.statistics.failed_tries == 0


OUTAGE = 60
"""Requests, of which a walk down to a single item takes a dozen."""


def put_batch(delivery: Delivery[Observed], batch: int, body: str = "x" * 500) -> None:
    """Put a hundred events of twice this text, in the line and as an attribute, which are a request."""
    for number in range(100 * batch, 100 * batch + 100):
        delivery.put(Observed(make_event(time_ns=TIME_NS + number, body=body), TIME_NS))


def too_large(context: grpc.ServicerContext, _: Receiver) -> None:
    """What grpc-go says."""
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (9 vs. 4)")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_rejection_of_everything_passes_without_loss_and_without_a_trace(
    protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    rejecting = grpc_receiver(*[too_large] * OUTAGE) if protocol == "grpc" else http_receiver(*[TOO_LARGE] * OUTAGE)
    with rejecting as receiver:
        delivery = log_delivery(destination(protocol, receiver), Limits(capacity=1_000, batch=100, linger_s=60))
        put_batch(delivery, 0)
        eventually(lambda: delivery.statistics.delivered == 100, within_s=20)
        before = len(receiver.received)
        for batch in range(1, 6):
            put_batch(delivery, batch)
        eventually(lambda: delivery.statistics.delivered == 600)
        close_all([delivery])
    assert len(receiver.received) - before == 5, "as before"
    accepted = [number for request in numbers_received(receiver)[OUTAGE:] for number in request]
    assert sorted(accepted) == list(range(600))
    assert delivery.statistics.dropped == NOTHING
    logged = lines(caplog)
    assert next(line for line in logged if "is unavailable" in line).endswith("bytes: size is hardly the reason)")
    assert len(logged) == 3, "the size, the outage, and its end"


def test_rejection_of_everything_becomes_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    with http_receiver(*[TOO_LARGE] * 1_000) as receiver:
        limits = Limits(capacity=1_000, batch=100, linger_s=60, patience_s=0.2)
        delivery = log_delivery(destination("http", receiver), limits)
        put_batch(delivery, 0)
        put_batch(delivery, 1)
        eventually(lambda: sum(delivery.statistics.dropped.values()) == 200)
        close_all([delivery])
    assert delivery.statistics.dropped == NOTHING | {Cause.PERMANENT: 200}
    assert len(receiver.received) < 100, "not a request for each event"
    [dropped] = [line for line in lines(caplog) if "dropped" in line]
    assert dropped.startswith("OTLP logs: dropped 1 (permanent: HTTP status 413: <html> <h1>413 Request Entity")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_real_limit_is_found_once(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    most = 80_000
    with (grpc_receiver if protocol == "grpc" else http_receiver)(most_bytes=most) as receiver:
        delivery = log_delivery(destination(protocol, receiver), Limits(capacity=10_000, batch=100, linger_s=60))
        for batch in range(50):
            put_batch(delivery, batch)
        eventually(lambda: delivery.statistics.delivered == 5_000, within_s=20)
        close_all([delivery])
    assert sorted(number for request in numbers_received(receiver) for number in request) == list(range(5_000))
    assert delivery.statistics.dropped == NOTHING
    assert len(receiver.received) == 100, "in halves"
    assert 1 <= delivery.statistics.failed_tries <= 3, "and few are tried that are larger"
    [line] = lines(caplog)
    assert re.fullmatch(
        rf"OTLP logs: {re.escape(destination(protocol, receiver).address)} rejects a request of \d+ bytes for its "
        r"size: (HTTP status 413: .*413 Request Entity Too Large.*|RESOURCE_EXHAUSTED: .*larger than max.*); "
        r"sending smaller ones: raise the receiver's limit, or set delivery.request_kilobytes below it",
        line,
    )


@pytest.mark.parametrize("place", [0, 50, 99])
@pytest.mark.parametrize("most", [1_000, 100_000])
def test_item_that_is_too_large_is_dropped_alone(most: int, place: int, caplog: pytest.LogCaptureFixture) -> None:
    with http_receiver(most_bytes=most) as receiver:
        delivery = log_delivery(destination("http", receiver), Limits(capacity=1_000, batch=100, linger_s=60))
        for batch in range(2):
            for number in range(100 * batch, 100 * batch + 100):
                body = "x" * most if number % 100 == place else ""
                delivery.put(Observed(make_event(time_ns=TIME_NS + number, body=body), TIME_NS))
        eventually(lambda: delivery.statistics.delivered == 198)
        close_all([delivery])
    accepted = sorted(number for request in numbers_received(receiver) for number in request)
    assert accepted == [number for number in range(200) if number % 100 != place]
    assert delivery.statistics.dropped_by_pod == {(Cause.TOO_LARGE, PodName("shop", "web-0")): 2}
    [dropped] = [line for line in lines(caplog) if "dropped" in line]
    assert dropped == (
        "OTLP logs: dropped 1 (too_large: HTTP status 413: <html> <h1>413 Request Entity Too Large</h1>); "
        "further drops are counted, not logged"
    )


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_what_a_receiver_says_is_logged_short_and_printable(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    words = "\x1b[2Jtoo\nmuch " + "x" * 2_000
    message = Status(message=words).SerializeToString()

    def exhausted(context: grpc.ServicerContext, _: Receiver) -> None:
        context.abort(grpc.StatusCode.UNAVAILABLE, words)

    wordy = grpc_receiver(exhausted) if protocol == "grpc" else http_receiver(HttpAnswer(503, message))
    with wordy as receiver:
        delivery = log_delivery(destination(protocol, receiver), Limits(capacity=100))
        delivery.put(observed(0))
        eventually(lambda: delivery.statistics.delivered == 1)
        close_all([delivery])
    said = lines(caplog)[0]
    assert r"\x1b[2Jtoo much xxx" in said
    assert len(said) < 420
    assert said.isprintable()
