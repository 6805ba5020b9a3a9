"""Entities get the names that Kubernetes tells, when it tells them, and keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otel_netagent.identity import naming as naming_module
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.identity.naming import EntityNames, EntityNaming, Labelled
from otel_netagent.identity.pod import Pod, Workload
from tests.identity.fake_proc import HOST
from tests.identity.node import Node
from tests.interleaving import Meeting

UID = "3ae65e4f-ef60-4b67-9e2b-1bbcaa1ecd21"
ID = "0c8d9f5a" * 8
CGROUP = f"/kubepods/burstable/pod{UID}/{ID}"
NETNS, OTHER = 4026532001, 4026532002
WEB = Pod(UID, "web-0", "shop", "10.1.17.40", {"app": "web"}, Workload("StatefulSet", "web"))


def labels_of_pod(entity: Entity, pod: Pod | None) -> Labelled:
    return Labelled(tuple(pod.labels.items()) if pod else (("whose", entity.kind.value),), left_out=3 if pod else 0)


@pytest.fixture
def naming() -> EntityNaming:
    return EntityNaming()


@pytest.fixture
def node(tmp_path: Path, naming: EntityNaming) -> Node:
    """With one pod."""
    node = Node.below(tmp_path, naming)
    node.proc.start(30, NETNS, CGROUP)
    return node


def named(pod: Pod = WEB) -> Mapping[str, Pod]:
    return {pod.uid: pod}


def test_a_pod_is_called_by_its_name_as_soon_as_that_is_known(node: Node, naming: EntityNaming) -> None:
    before = node.update()[NETNS]
    assert (before.pod, before.namespace) == (UID, "unknownNamespace")
    naming.know(named())
    after = node.update()[NETNS]
    assert after == replace(before, pod="web-0", namespace="shop", workload=WEB.workload)
    assert node.lookup(NETNS) == after


def test_a_pod_that_is_known_before_its_first_process_has_its_name_at_once(node: Node, naming: EntityNaming) -> None:
    naming.know(named())
    assert node.lookup(NETNS).pod == "web-0", "to an event before the first update"
    assert node.update()[NETNS].pod == "web-0"


def test_a_pod_that_kubernetes_has_forgotten_keeps_its_name(node: Node, naming: EntityNaming) -> None:
    naming.know(named())
    before = node.update()[NETNS]
    naming.know({})
    assert node.update()[NETNS] == before


def test_its_late_events_have_its_name(node: Node, naming: EntityNaming) -> None:
    naming.know(named())
    entity = node.update({NETNS: 7})[NETNS]
    node.proc.end(30)
    node.update({HOST: 1})
    naming.know({})
    assert node.lookup(NETNS, 7) == entity


def test_as_long_as_nothing_changes_entities_are_the_very_same(node: Node, naming: EntityNaming) -> None:
    """Outputs rely on it: what they have made of an entity costs them nothing more."""
    naming.label_by(labels_of_pod)
    naming.know(named())
    first = node.update()[NETNS]
    naming.know({**named(), "other": replace(WEB, uid="other")})
    naming.label_by(labels_of_pod)
    assert node.update()[NETNS] is first


def test_labels_follow_the_pod_and_the_configuration(node: Node, naming: EntityNaming) -> None:
    naming.know(named())
    assert node.update()[NETNS].labels == ()
    naming.label_by(labels_of_pod)
    entities = node.update()
    assert (entities[NETNS].labels, entities[NETNS].labels_left_out) == ((("app", "web"),), 3)
    assert entities[HOST].labels == (("whose", "host"),)
    naming.know(named(replace(WEB, labels={"app": "shop"})))
    assert node.update()[NETNS].labels == (("app", "shop"),)
    naming.label_by(lambda *_: Labelled(()))
    assert {entity.labels for entity in node.update().values()} == {()}


@pytest.mark.parametrize("pods_come_first", [True, False])
def test_of_pods_and_labels_that_change_at_once_neither_is_lost(
    pods_come_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = Meeting()
    with meeting.watching_locks():
        naming = EntityNaming()

    def slow_replace(names: EntityNames, **changes: Any) -> EntityNames:  # noqa: ANN401 - as dataclasses'
        replaced = replace(names, **changes)
        meeting.hold()
        return replaced

    monkeypatch.setattr(naming_module, "replace", slow_replace)
    changes = (lambda: naming.know(named()), lambda: naming.label_by(labels_of_pod))
    meeting.of(*(changes if pods_come_first else reversed(changes)))
    assert naming.names == EntityNames(named(), labels_of_pod)


def test_labels_have_no_part_in_the_hash_but_in_equality() -> None:
    entity = Entity(NETNS, 7, EntityKind.POD, "web-0", "shop", 0, UID)
    labelled = replace(entity, labels=(("app", "web"),), workload=WEB.workload)
    assert hash(labelled) == hash(entity)
    assert labelled != entity


def test_the_host_and_the_pods_that_share_its_network_stay_one(node: Node, naming: EntityNaming) -> None:
    node.proc.start(40, HOST, f"/kubepods/pod{'0' * 32}/{ID}")
    naming.know({"0" * 32: replace(WEB, uid="0" * 32)})
    assert node.update()[HOST].pod == "hostNetwork"
