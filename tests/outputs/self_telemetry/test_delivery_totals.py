"""Counts of deliveries go on where one configuration follows another."""

from __future__ import annotations

from functools import partial

from lab.waiting import eventually
from otel_netagent.outputs.otlp.environment import Signal
from otel_netagent.outputs.otlp.logs import Observed
from otel_netagent.outputs.self_telemetry.agent_state import DeliveryTotals
from otel_netagent.outputs.sending import Cause, Delivery, Limits, close_all
from tests.outputs.otlp.receivers import HttpAnswer, http_receiver
from tests.outputs.otlp.sending import dead_port, http_destination
from tests.outputs.sending.deliveries import log_delivery, observed

LIMITS = Limits(capacity=100)


def test_counts_of_ended_deliveries_stay() -> None:
    totals = DeliveryTotals()
    with http_receiver() as receiver:
        for round_ in (1, 2):
            delivery = log_delivery(http_destination(receiver.port, Signal.LOGS), LIMITS)
            totals.follow([delivery])
            delivery.put(observed(1))
            eventually(partial(_delivered, totals, round_))
            close_all([delivery])
        totals.follow([])
    assert _delivered(totals, 2)


def test_refusals_and_losses_are_added_by_cause_and_pod() -> None:
    totals = DeliveryTotals()
    deliveries: list[Delivery[Observed]] = []
    with http_receiver(HttpAnswer(400), HttpAnswer(400)) as receiver, dead_port() as dead:
        for port in (receiver.port, receiver.port, dead):
            deliveries = [log_delivery(http_destination(port, Signal.LOGS), LIMITS)]
            totals.follow(deliveries)
            deliveries[0].put(observed(1))
            eventually(partial(_failed, deliveries[0]))
            close_all(deliveries)
    statistics = totals.read()["OTLP logs"]
    assert (statistics.dropped[Cause.PERMANENT], statistics.dropped[Cause.SHUTDOWN]) == (2, 1)
    assert sum(statistics.dropped_by_pod.values()) == 3
    assert statistics.queued == statistics.spool_bytes == 0


def test_what_waits_is_that_of_the_running_ones() -> None:
    totals = DeliveryTotals()
    with dead_port() as port:
        first, second = (log_delivery(http_destination(port, Signal.LOGS), LIMITS) for _ in range(2))
        totals.follow([first])
        first.put(observed(1))
        eventually(lambda: totals.read()["OTLP logs"].queued == 1)
        close_all([first], 0.0)
        totals.follow([second])
        assert totals.read()["OTLP logs"].queued == 0
        close_all([second], 0.0)


def _delivered(totals: DeliveryTotals, expected: int) -> bool:
    return totals.read()["OTLP logs"].delivered == expected


def _failed(delivery: Delivery[Observed]) -> bool:
    return delivery.statistics.failed_tries > 0
