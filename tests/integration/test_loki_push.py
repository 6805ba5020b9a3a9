"""Pushed by Loki's API, with no collector between: found by a query, with the right labels, line and time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import requests

from lab.truth import Family
from otel_netagent.outputs.sending.outcome import Accepted
from tests.agent.closed_ports import closed_tcp_port
from tests.agent.command import NODE
from tests.agent.running import Agent, Told
from tests.agent.stage import await_known, named_pair
from tests.integration.conftest import STORES, NewStack
from tests.integration.documented import documented_queries
from tests.integration.far_end import FarEnd
from tests.integration.log_queries import ARRIVAL_S, Entry, Selection, await_entries, await_results
from tests.integration.pushing import made_up, push, with_first_too_old
from tools.stack.services import Stack

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=STORES)
def pushed_to(
    request: pytest.FixtureRequest, _root: None, new_stack: NewStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FarEnd]:
    """A log store, and an agent that knows of it and of no collector; the others do not run."""
    stack = new_stack(request.param)
    pushing = {"loki_enable": True, "loki_address": stack.log_store.push_address}
    with stack.log_store.service() as log_store, Agent(tmp_path_factory.mktemp("agent"), event=pushing) as agent:
        yield FarEnd(stack, agent, stack.collector(), log_store, stack.prometheus())


def test_fault_is_found_with_its_labels_its_line_and_its_time(pushed_to: FarEnd) -> None:
    with named_pair() as stage:
        await_known(pushed_to.agent, stage)
        began_ns = time.time_ns()
        expected = closed_tcp_port(stage, Family.IPV4)
        ended_ns = time.time_ns()
        for told in expected:
            entry = _the_one(pushed_to, told, began_ns)
            assert Told.of(entry.line) == told
            assert began_ns < entry.time_ns < ended_ns
            assert {name: value for name, value in entry.labels.items() if name != "service_name"} == {
                "job": "otel-netagent",
                "instance": NODE,
                "namespace": "standaloneNetns",
                "type": told.type,
            }
            assert entry.metadata["netns"] == f"ns{stage.inodes[told.pod]}"
            assert entry.metadata["source_address"] == stage.pair.client.ipv4
            assert entry.metadata["network_transport"] == "tcp"


def test_nothing_is_lost_while_the_store_is_away(pushed_to: FarEnd) -> None:
    with named_pair() as stage:
        await_known(pushed_to.agent, stage)
        began_ns = time.time_ns()
        pushed_to.log_store.stop()
        expected = closed_tcp_port(stage, Family.IPV4)
        pushed_to.agent.eventually(lambda: [line for line in pushed_to.agent.err if " is unavailable, " in line])
        pushed_to.log_store.start()
        for told in expected:
            assert Told.of(_the_one(pushed_to, told, began_ns).line) == told


def test_entries_that_are_late_are_taken(pushed_to: FarEnd) -> None:
    """What a spool held comes after what happened since, if another agent of the node's name sent that."""
    store, events = pushed_to.stack.log_store, made_up(time.time_ns(), "late")
    assert [push(store, [event]) for event in reversed(events)] == [Accepted()] * len(events)
    entries = await_entries(store, Selection({"namespace": "late"}), events[0].event.time_ns, at_least=len(events))
    assert [entry.time_ns for entry in entries] == [each.event.time_ns for each in events]


def test_queries_of_the_documentation_find_events(pushed_to: FarEnd) -> None:
    store, events = pushed_to.stack.log_store, made_up(time.time_ns(), "documented", pod="web-7d4f")
    assert push(store, events) == Accepted()
    (query,) = documented_queries("delivery.md", store)
    assert await_results(store, query, events[0].event.time_ns)


def test_victorialogs_drops_what_is_too_old_and_says_so_in_its_own_metrics_only(stack: Stack) -> None:
    """Older than its -retentionPeriod. Loki answers how many it has left out; from here, the agent cannot know."""
    with stack.log_store.service():
        events = with_first_too_old(made_up(time.time_ns(), "too-old"))
        assert push(stack.log_store, events) == Accepted()
        since_ns, others = events[0].event.time_ns, events[1:]
        entries = await_entries(stack.log_store, Selection({"namespace": "too-old"}), since_ns, at_least=len(others))
        assert [entry.time_ns for entry in entries] == [each.event.time_ns for each in others]
        metrics = requests.get(f"{stack.log_store.url}/metrics", timeout=ARRIVAL_S).text
    assert 'vl_rows_dropped_total{reason="too_small_timestamp"} 1\n' in metrics


def _the_one(far_end: FarEnd, told: Told, since_ns: int) -> Entry:
    (entry,) = far_end.await_events(Selection({"type": told.type}, {"pod": told.pod}), since_ns)
    return entry
