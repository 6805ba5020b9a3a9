"""The agent's status, to JSON and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.identity.kubernetes.watch_condition import WatchCondition, WatchState
from otel_netagent.identity.pod import Workload
from otel_netagent.model.output_status import OutputStatus
from otel_netagent.model.probe_status import HookStatus, ProbeState, ProbeStatus, Refusal
from otel_netagent.outputs.http.status import AgentStatus

TEXT = st.text(max_size=12)
ENTITIES = st.builds(
    Entity,
    st.integers(1, 2**32 - 1),
    st.integers(1, 2**64 - 1),
    st.sampled_from(EntityKind),
    pod=TEXT,
    namespace=TEXT,
    start_ns=st.integers(0, 2**63 - 1),
    pod_uid=TEXT,
    container_id=TEXT,
    workload=st.none() | st.builds(Workload, TEXT, TEXT),
    labels=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    labels_left_out=st.integers(0, 9),
)
CONDITIONS = st.builds(WatchCondition, st.sampled_from(WatchState), TEXT, *[st.integers(0, 9)] * 3)
HOOKS = st.builds(HookStatus, TEXT, st.none() | TEXT, st.lists(st.builds(Refusal, TEXT, TEXT), max_size=3).map(tuple))
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
PROBES = st.builds(
    ProbeStatus, TEXT, st.sampled_from(ProbeState), st.lists(HOOKS, max_size=3).map(tuple), TEXT, TEXTS, TEXT
)
OUTPUTS = st.builds(OutputStatus, TEXT, TEXT, st.integers(0, 2**63 - 1))
STATUSES = st.builds(
    AgentStatus,
    version=TEXT,
    node=TEXT,
    kernel=TEXT,
    btf=TEXT,
    probes=st.lists(PROBES, max_size=3).map(tuple),
    entities=st.lists(ENTITIES, max_size=3).map(lambda entities: {each.netns_cookie: each for each in entities}),
    kubernetes=CONDITIONS,
    outputs=st.lists(OUTPUTS, max_size=3).map(tuple),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)


@given(STATUSES)
def test_a_status_reads_back_as_it_was_written(status: AgentStatus) -> None:
    assert AgentStatus.from_json(status.to_json()) == status


@given(STATUSES)
def test_what_a_newer_agent_adds_is_passed_over(status: AgentStatus) -> None:
    document = json.loads(status.to_json(), object_hook=lambda members: members | {"newer": 1})
    assert AgentStatus.from_json(json.dumps(document)) == status


@given(STATUSES)
def test_of_an_agent_that_knows_no_cookies_the_inode_stands_for_them(status: AgentStatus) -> None:
    document = json.loads(status.to_json())
    for entity in document["entities"]:
        del entity["netns_cookie"]
    read = AgentStatus.from_json(json.dumps(document)).entities
    assert read == {each.netns: replace(each, netns_cookie=each.netns) for each in status.entities.values()}


@given(STATUSES, st.sampled_from(["version", "node", "kernel", "btf", "probes", "entities", "kubernetes", "outputs"]))
def test_a_status_in_which_something_is_missing_is_none(status: AgentStatus, key: str) -> None:
    document = json.loads(status.to_json())
    del document[key]
    with pytest.raises(ValueError, match=key):
        AgentStatus.from_json(json.dumps(document))


@given(JSON, st.sampled_from(["", "probes", "entities", "outputs"]))
def test_other_json_is_no_status(thing: object, place: str) -> None:
    """Wherever it stands; only what is empty may stand for a list."""
    document = json.loads(AgentStatus("1", "n", "k", "b", (), {}).to_json())
    if thing or not place:
        with pytest.raises(ValueError, match="status"):
            AgentStatus.from_json(json.dumps(document | {place: thing} if place else thing))


@given(st.binary(max_size=20))
def test_other_bytes_are_no_status(text: bytes) -> None:
    with pytest.raises(ValueError, match="status"):
        AgentStatus.from_json(text)


def test_json_that_nests_too_deep_is_no_status() -> None:
    with pytest.raises(ValueError, match="status"):
        AgentStatus.from_json("[" * 100_000)
