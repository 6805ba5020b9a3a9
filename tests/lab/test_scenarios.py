"""Every fault really happens, with the tuple, the reason and the counters that its truth claims."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import catalogue, drops_full, resets_sent
from tests.lab.links import Pair, Router, loopback
from tests.lab.namespace import Namespace
from tests.lab.scenario import Scenario, case_id, cases
from tests.lab.tracing import Trace, tracing
from tests.lab.truth import Family
from tests.lab.wire import Wire
from tests.lab.witness import witnessed


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


@pytest.mark.parametrize(
    ("scenario", "family"),
    cases([*resets_sent.ON_PAIR, *drops_full.SOCKETS_ON_PAIR]),
    ids=case_id,
)
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
def test_quiet_scenarios_send_and_receive_no_reset(
    scenario: Scenario[Wire], family: Family, wire: Wire, trace: Trace
) -> None:
    with witnessed(trace, wire.host) as testimony:
        scenario.play(wire, family)
    assert not testimony.sent
    assert not testimony.received
    assert not testimony.fired("tcp_send_reset")
    assert not testimony.fired("tcp_receive_reset")


def test_names_are_unique() -> None:
    names = [s.name for s in catalogue.ON_WIRE] + [s.name for s in catalogue.ON_PAIR]
    names += [s.name for s in catalogue.ON_ROUTER] + [s.name for s in catalogue.QUIET_ON_WIRE]
    assert len(names) == len(set(names))
