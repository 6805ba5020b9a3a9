"""Pushed to the real Loki, with no collector between: found by LogQL, with the right labels, line and time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from otel_netagent.telemetry.event import AttributedEvent
from otel_netagent.telemetry.loki.address import push_url
from otel_netagent.telemetry.loki.streams import StreamsEncoder
from otel_netagent.telemetry.loki.transport import PushTransport
from otel_netagent.telemetry.outcome import Accepted, Outcome
from tests.agent.closed_ports import closed_tcp_port
from tests.agent.command import NODE
from tests.agent.running import Agent, Told
from tests.agent.stage import await_known, named_pair
from tests.integration.conftest import NewStack
from tests.integration.far_end import Entry, FarEnd
from tests.lab.truth import Family
from tests.telemetry.samples import make_entity, make_event
from tools.stack.programs import CONFIGURATION
from tools.stack.service import Service
from tools.stack.services import Stack

pytestmark = pytest.mark.integration

_DAY_NS = 86_400_000_000_000
_EVENTS = 3


@pytest.fixture(scope="module")
def pushed_to(_root: None, new_stack: NewStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarEnd]:
    """Loki, and an agent that knows of it and of no collector; the others do not run."""
    stack = new_stack()
    pushing = {"loki_enable": True, "loki_address": stack.loki_url}
    with stack.loki() as loki, Agent(tmp_path_factory.mktemp("agent"), event=pushing) as agent:
        yield FarEnd(stack, agent, stack.collector(), loki, stack.prometheus())


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


def test_nothing_is_lost_while_loki_is_away(pushed_to: FarEnd) -> None:
    with named_pair() as stage:
        await_known(pushed_to.agent, stage)
        began_ns = time.time_ns()
        pushed_to.loki.stop()
        expected = closed_tcp_port(stage, Family.IPV4)
        pushed_to.agent.eventually(lambda: [line for line in pushed_to.agent.err if " does not take them: " in line])
        pushed_to.loki.start()
        for told in expected:
            assert Told.of(_the_one(pushed_to, told, began_ns).line) == told


def test_loki_that_allows_no_metadata_gets_the_lines(pushed_to: FarEnd, stack: Stack) -> None:
    argv = [str(stack.programs.loki), f"-config.file={CONFIGURATION / 'loki.yaml'}", "-config.expand-env=true"]
    argv.append("-validation.allow-structured-metadata=false")
    service = Service("Loki", argv, stack.loki_environ, stack.directory / "loki.log", f"{stack.loki_url}/ready")
    with service as loki:
        here = replace(pushed_to, stack=stack, loki=loki)
        events = _events(time.time_ns())
        assert _push(here, events) == Accepted()
        entries = here.await_logql('{job="otel-netagent"}', events[0].event.time_ns, at_least=_EVENTS)
    assert [(entry.time_ns, entry.line) for entry in entries] == [(each.event.time_ns, each.line) for each in events]
    assert not any("pod" in entry.metadata for entry in entries)


def test_one_that_is_too_old_is_counted_and_the_others_arrive(pushed_to: FarEnd) -> None:
    """Older than limits_config.reject_old_samples_max_age, which is a week."""
    old, *others = _events(time.time_ns())
    old = old._replace(event=old.event._replace(time_ns=old.event.time_ns - 8 * _DAY_NS))
    outcome = _push(pushed_to, [old, *others])
    assert isinstance(outcome, Accepted)
    assert outcome.rejected == 1
    query = f'{{namespace="{others[0].entity.namespace}"}}'
    entries = pushed_to.await_logql(query, others[0].event.time_ns, at_least=len(others))
    assert [entry.time_ns for entry in entries] == [each.event.time_ns for each in others]


def test_entries_that_are_late_are_taken(pushed_to: FarEnd) -> None:
    """What a spool held comes after what happened since, if another agent of the node's name sent that."""
    events = _events(time.time_ns(), namespace="late")
    assert [_push(pushed_to, [event]) for event in reversed(events)] == [Accepted()] * _EVENTS
    entries = pushed_to.await_logql('{namespace="late"}', events[0].event.time_ns, at_least=_EVENTS)
    assert [entry.time_ns for entry in entries] == [each.event.time_ns for each in events]


def _the_one(far_end: FarEnd, told: Told, since_ns: int) -> Entry:
    (entry,) = far_end.await_logql(f'{{type="{told.type}"}} | pod="{told.pod}"', since_ns)
    return entry


def _events(now_ns: int, namespace: str = "made-up") -> list[AttributedEvent]:
    entity = make_entity(namespace=namespace)
    return [make_event(entity, time_ns=now_ns - 1_000_000_000 + number) for number in range(_EVENTS)]


def _push(far_end: FarEnd, events: list[AttributedEvent]) -> Outcome:
    (parcel,) = StreamsEncoder(NODE).encode(events)
    transport = PushTransport(push_url(far_end.stack.loki_url), {})
    try:
        return transport.send(parcel.body)
    finally:
        transport.close()
