"""Counts of deliveries go on where one configuration follows another."""

from __future__ import annotations

from functools import partial

from lab.waiting import eventually
from otel_netagent.outputs.otlp.environment import Signal
from otel_netagent.outputs.otlp.logs import Observed
from otel_netagent.outputs.self_telemetry.agent_state import Tallies
from otel_netagent.outputs.sending import Cause, Delivery, Limits, close_all
from tests.outputs.otlp.receivers import HttpAnswer, http_receiver
from tests.outputs.otlp.sending import dead_port, http_destination
from tests.outputs.sending.deliveries import log_delivery, observed

LIMITS = Limits(capacity=100)


def test_counts_of_ended_deliveries_stay() -> None:
    tallies = Tallies()
    with http_receiver() as receiver:
        for round_ in (1, 2):
            delivery = log_delivery(http_destination(receiver.port, Signal.LOGS), LIMITS)
            tallies.follow([delivery])
            delivery.put(observed(1))
            eventually(partial(_delivered, tallies, round_))
            close_all([delivery])
        tallies.follow([])
    assert _delivered(tallies, 2)


def test_refusals_and_losses_are_added_by_cause_and_pod() -> None:
    tallies = Tallies()
    deliveries: list[Delivery[Observed]] = []
    with http_receiver(HttpAnswer(400), HttpAnswer(400)) as receiver, dead_port() as dead:
        for port in (receiver.port, receiver.port, dead):
            deliveries = [log_delivery(http_destination(port, Signal.LOGS), LIMITS)]
            tallies.follow(deliveries)
            deliveries[0].put(observed(1))
            eventually(partial(_failed, deliveries[0]))
            close_all(deliveries)
    tally = tallies.read()["OTLP logs"]
    assert (tally.let_go[Cause.PERMANENT], tally.let_go[Cause.SHUTDOWN]) == (2, 1)
    assert sum(tally.let_go_by_pod.values()) == 3
    assert tally.queued == tally.spool_bytes == 0


def test_what_waits_is_that_of_the_running_ones() -> None:
    tallies = Tallies()
    with dead_port() as port:
        first, second = (log_delivery(http_destination(port, Signal.LOGS), LIMITS) for _ in range(2))
        tallies.follow([first])
        first.put(observed(1))
        eventually(lambda: tallies.read()["OTLP logs"].queued == 1)
        close_all([first], 0.0)
        tallies.follow([second])
        assert tallies.read()["OTLP logs"].queued == 0
        close_all([second], 0.0)


def _delivered(tallies: Tallies, expected: int) -> bool:
    return tallies.read()["OTLP logs"].delivered == expected


def _failed(delivery: Delivery[Observed]) -> bool:
    return delivery.tally.failed_tries > 0
