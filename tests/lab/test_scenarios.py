"""Every fault really happens, with the tuple, the reason and the counters that its truth claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab import catalogue
from lab.links import Pair, Router, loopback
from lab.namespace import Namespace
from lab.scenario import Scenario, case_id, cases
from lab.tracing import Trace, tracing
from lab.truth import Family
from lab.wire import Wire
from lab.witness import witnessed


@pytest.fixture(scope="module")
def whole_trace() -> Iterator[Trace]:
    with tracing() as trace:
        yield trace


@pytest.fixture
def trace(whole_trace: Trace) -> Trace:
    whole_trace.forget()
    return whole_trace


@pytest.mark.parametrize(("scenario", "family"), cases(catalogue.ON_WIRE), ids=case_id)
def test_on_wire(scenario: Scenario[Wire], family: Family, wire: Wire, trace: Trace) -> None:
    with witnessed(trace, wire.host) as testimony:
        truth = scenario.play(wire, family)
    testimony.confirm(truth, deferred=scenario.deferred)


@pytest.mark.parametrize(("scenario", "family"), cases(catalogue.ON_PAIR), ids=case_id)
def test_on_pair(scenario: Scenario[Pair], family: Family, pair: Pair, trace: Trace) -> None:
    with witnessed(trace, pair.client, pair.server) as testimony:
        truth = scenario.play(pair, family)
    testimony.confirm(truth, deferred=scenario.deferred)


@pytest.mark.parametrize(("scenario", "family"), cases(catalogue.ON_LOOPBACK), ids=case_id)
def test_on_loopback(scenario: Scenario[Pair], family: Family, netns: Namespace, trace: Trace) -> None:
    pair = loopback(netns)
    with witnessed(trace, pair.client) as testimony:
        truth = scenario.play(pair, family)
    testimony.confirm(truth, deferred=scenario.deferred)


@pytest.mark.parametrize(("scenario", "family"), cases(catalogue.ON_ROUTER), ids=case_id)
def test_on_router(scenario: Scenario[Router], family: Family, router: Router, trace: Trace) -> None:
    with witnessed(trace, router.client, router.near, router.far, router.server) as testimony:
        truth = scenario.play(router, family)
    testimony.confirm(truth, deferred=scenario.deferred)


@pytest.mark.parametrize(("scenario", "family"), cases(catalogue.QUIET_ON_WIRE), ids=case_id)
def test_quiet_on_wire(scenario: Scenario[Wire], family: Family, wire: Wire, trace: Trace) -> None:
    with witnessed(trace, wire.host) as testimony:
        truth = scenario.play(wire, family)
    testimony.confirm_quiet(truth)


@pytest.mark.parametrize(("scenario", "family"), cases(catalogue.QUIET_ON_PAIR), ids=case_id)
def test_quiet_on_pair(scenario: Scenario[Pair], family: Family, pair: Pair, trace: Trace) -> None:
    with witnessed(trace, pair.client, pair.server) as testimony:
        truth = scenario.play(pair, family)
    testimony.confirm_quiet(truth)


def test_names_are_unique() -> None:
    stages: tuple[tuple[Scenario[Any], ...], ...] = (
        catalogue.ON_WIRE,
        catalogue.ON_PAIR,
        catalogue.ON_ROUTER,
        catalogue.QUIET_ON_WIRE,
        catalogue.QUIET_ON_PAIR,
    )
    names = [scenario.name for stage in stages for scenario in stage]
    assert len(names) == len(set(names))
