"""Every fault of the laboratory is told exactly: its events and no others, its drops and counters to the number.

Tests ask for the observer before the stage: what happens while a namespace is set up must be seen too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pytest

from lab import catalogue
from lab.links import Host, Pair, Router, loopback
from lab.namespace import Namespace
from lab.scenario import Scenario, case_id, cases
from lab.truth import Family, Truth
from lab.wire import Wire
from otel_netagent.model.event import Event
from tests.faults import latencies
from tests.faults.conftest import Play
from tests.faults.expectation import expected, told, too_slow
from tests.faults.judgement import MALFORMED
from tests.faults.observer import Observer
from tests.probes.test_packetloss import send_to_nobody


@pytest.mark.parametrize(("scenario", "family"), cases(catalogue.ON_WIRE), ids=case_id)
def test_on_wire(scenario: Scenario[Wire], family: Family, play: Play[Wire], observer: Observer, wire: Wire) -> None:
    confirm(play(scenario, wire, family), observer, [wire.host])


@pytest.mark.parametrize(("scenario", "family"), cases(catalogue.ON_PAIR), ids=case_id)
def test_on_pair(scenario: Scenario[Pair], family: Family, play: Play[Pair], observer: Observer, pair: Pair) -> None:
    confirm(play(scenario, pair, family), observer, [pair.client, pair.server])


@pytest.mark.parametrize(("scenario", "family"), cases(catalogue.ON_LOOPBACK), ids=case_id)
def test_on_loopback(
    scenario: Scenario[Pair], family: Family, play: Play[Pair], observer: Observer, netns: Namespace
) -> None:
    pair = loopback(netns)
    confirm(play(scenario, pair, family), observer, [pair.client])


@pytest.mark.parametrize(("scenario", "family"), cases(catalogue.ON_ROUTER), ids=case_id)
def test_on_router(
    scenario: Scenario[Router], family: Family, play: Play[Router], observer: Observer, router: Router
) -> None:
    confirm(play(scenario, router, family), observer, [router.client, router.near, router.server])


@pytest.mark.parametrize(("scenario", "family"), cases(catalogue.QUIET_ON_WIRE), ids=case_id)
def test_quiet_on_wire(scenario: Scenario[Wire], family: Family, observer: Observer, wire: Wire) -> None:
    confirm_quiet(scenario.play(wire, family), observer, [wire.host])


@pytest.mark.parametrize(("scenario", "family"), cases(catalogue.QUIET_ON_PAIR), ids=case_id)
def test_quiet_on_pair(scenario: Scenario[Pair], family: Family, observer: Observer, pair: Pair) -> None:
    confirm_quiet(scenario.play(pair, family), observer, [pair.client, pair.server])


def confirm(truth: Truth, observer: Observer, hosts: Collection[Host]) -> None:
    """Events as expected, and the counters of each namespace equal to the drops that were made."""
    inodes, must = [host.namespace.inode for host in hosts], expected(truth)
    events, values_of = observer.agreeing(inodes, enough=lambda events: told(events, truth) >= must)
    assert told(events, truth) == must
    assert not too_slow(events, truth)
    for inode, values in values_of.items():
        counted = latencies.counted(values)
        assert counted == latencies.told((event for event in events if event.netns == inode), counted)
        # What the kernel itself sends when an interface comes up may be dropped too: those events are here as well.
        drops = [event for event in events if event.netns == inode and event.type.name == "PACKETLOSS"]
        assert _outcomes(values) == ({"emitted": len(drops), "suppressed": 0, "lost": 0} if drops else {})
        for (location, reason), count in Counter(map(_place, drops)).items():
            assert values[f"inspector_pod_packetloss{{{location},{reason}}}"] >= count
        assert values["inspector_pod_packetloss_total"] == sum(
            value for name, value in values.items() if name.startswith("inspector_pod_packetloss{")
        )
        malformed = sum(event.attributes["netagent.drop.reason"] in MALFORMED for event in drops)
        assert values["inspector_pod_packetloss_abnormal"] == len(drops) - malformed


def confirm_quiet(truth: Truth, observer: Observer, hosts: Collection[Host]) -> None:
    """No event, and no drop that counts as abnormal, but for a fault that is made now: somebody was looking."""
    planted = {(host.namespace.inode, send_to_nobody(host.namespace)) for host in hosts}
    inodes = [host.namespace.inode for host in hosts]
    events, values_of = observer.agreeing(inodes, enough=lambda events: len(told(events, truth)) >= len(planted))
    assert {(each.netns, each.destination[1]) for each in told(events, truth)} == planted
    for inode, values in values_of.items():
        drops = [event for event in events if event.netns == inode and event.type.name == "PACKETLOSS"]
        assert values["inspector_pod_packetloss_abnormal"] == len(drops)


def _outcomes(values: dict[str, int]) -> dict[str, int]:
    prefix = "netagent_events_total{PACKETLOSS,"
    return {name[len(prefix) : -1]: value for name, value in values.items() if name.startswith(prefix)}


def _place(event: Event) -> tuple[str, str]:
    return str(event.attributes["netagent.drop.location"]), str(event.attributes["netagent.drop.reason"])
