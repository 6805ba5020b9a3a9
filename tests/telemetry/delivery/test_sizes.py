"""Requests of a size that the receiver takes."""

from __future__ import annotations

import pytest

from otel_netagent.telemetry.delivery import Cause, Limits, Pod, close_all
from otel_netagent.telemetry.delivery.request_size import FLOOR_BYTES
from otel_netagent.telemetry.otlp.environment import Destination, Signal
from otel_netagent.telemetry.otlp.logs import Observed
from tests.lab.waiting import eventually
from tests.telemetry.delivery.deliveries import NOTHING, log_delivery, numbers_received, observed
from tests.telemetry.otlp.receivers import Receiver, grpc_receiver, http_receiver
from tests.telemetry.otlp.sending import grpc_destination, http_destination
from tests.telemetry.samples import TIME_NS, make_event


def destination(protocol: str, receiver: Receiver, signal: Signal = Signal.LOGS) -> Destination:
    return (grpc_destination if protocol == "grpc" else http_destination)(receiver.port, signal)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("most", [2_000, 100_000])
def test_parcel_above_the_receivers_limit_arrives_in_parts(protocol: str, most: int) -> None:
    make = grpc_receiver if protocol == "grpc" else http_receiver
    with make(most_bytes=most) as receiver:
        delivery = log_delivery(destination(protocol, receiver), Limits(capacity=100, batch=50, linger_s=60))
        for number in range(100):
            delivery.put(Observed(make_event(time_ns=TIME_NS + number, body="x" * (most // 16)), TIME_NS))
        eventually(lambda: delivery.tally.delivered == 100)
        close_all([delivery])
    assert [number for request in numbers_received(receiver) for number in request] == list(range(100))
    assert delivery.tally.let_go == NOTHING
    assert delivery.tally.failed_tries > 0
    if most > FLOOR_BYTES:
        assert delivery.tally.failed_tries < 6, "what was rejected once is not tried again"


def test_single_item_above_the_receivers_limit_is_let_go() -> None:
    with grpc_receiver(most_bytes=1_000) as receiver:
        delivery = log_delivery(grpc_destination(receiver.port), Limits(capacity=100, batch=3, linger_s=60))
        large = make_event(body="x" * 1_000)
        for event in (make_event(), large, make_event()):
            delivery.put(Observed(event, TIME_NS))
        eventually(lambda: delivery.tally.delivered == 2)
        close_all([delivery])
    assert delivery.tally.let_go == NOTHING | {Cause.TOO_LARGE: 1}
    assert delivery.tally.let_go_by_pod == {(Cause.TOO_LARGE, Pod("shop", "web-0")): 1}


def test_configured_size_is_kept_to_from_the_first_request() -> None:
    with grpc_receiver() as receiver:
        limits = Limits(capacity=100, batch=100, linger_s=60, request_bytes=1_000)
        delivery = log_delivery(grpc_destination(receiver.port), limits)
        for number in range(100):
            delivery.put(observed(number))
        eventually(lambda: delivery.tally.delivered == 100)
        close_all([delivery])
    assert max(len(received.body) for received in receiver.received) <= 1_000
    assert delivery.tally.failed_tries == 0
