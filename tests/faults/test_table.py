"""The truth table says what is missing, and what should not be; the pages count faults as it does."""

from __future__ import annotations

import dataclasses

import pytest

from lab.resets_received import ON_WIRE
from lab.scenario import Scenario
from lab.truth import Family, Truth
from lab.wire import Wire
from tests.faults.table import on_wire, outcome, watching

RESET = next(scenario for scenario in ON_WIRE if scenario.name == "rst_in_ESTABLISHED")


def lying(wire: Wire, family: Family) -> Truth:
    """The fault, and a truth of it in which the socket was in another state."""
    truth = RESET.play(wire, family)
    [reset] = truth.received_resets
    return dataclasses.replace(truth, received_resets=(dataclasses.replace(reset, state="TCP_CLOSE_WAIT"),))


@pytest.mark.usefixtures("_root")
def test_what_was_told_is_compared_with_the_truth() -> None:
    with watching() as watch:
        right = outcome(watch, on_wire, RESET, Family.IPV4, "right")
        wrong = outcome(watch, on_wire, Scenario("lying", lying), Family.IPV4, "wrong")
    assert (right.expected, right.seen, right.missed, right.false, len(right.delays_ms)) == (1, 1, 0, 0, 1)
    assert (wrong.expected, wrong.seen, wrong.missed, wrong.false) == (1, 0, 1, 1)
