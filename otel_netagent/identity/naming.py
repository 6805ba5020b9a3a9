"""What is known of pods beside their namespaces: put into the entities that procfs gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from otel_netagent.identity.entity import Entity, LabelPairs
from otel_netagent.identity.pod import Pod


class Labelled(NamedTuple):
    """Labels of an entity's metrics, and how many more there would have been."""

    labels: LabelPairs
    left_out: int = 0


Labelling: TypeAlias = Callable[[Entity, Pod | None], Labelled]
"""Which labels metrics get of an entity; of its pod too, where it is one that Kubernetes has told of."""


def unlabelled(entity: Entity, pod: Pod | None) -> Labelled:  # noqa: ARG001 - a Labelling
    """None beside those of every entity."""
    return Labelled(())


@dataclass(frozen=True, slots=True)
class EntityNames:
    """What is known at one moment: pods by the UIDs that cgroup paths have, and how their metrics are labelled."""

    pods: Mapping[str, Pod] = field(default_factory=dict)
    label: Labelling = unlabelled

    def of(self, entity: Entity) -> Entity:
        """The entity with all that is known of it; itself where that is nothing new.

        One whose pod is not known (any more) keeps the name that it has.
        """
        pod = self.pods.get(entity.pod_uid)
        if pod is not None:
            named = replace(entity, pod=pod.name, namespace=pod.namespace, workload=pod.workload)
        else:
            named = entity
        labels, left_out = self.label(named, pod)
        named = replace(named, labels=labels, labels_left_out=left_out)
        return entity if named == entity else named


class EntityNaming:
    """Holds the current EntityNames. From any thread; `names` is a new object after each change, and only then."""

    def __init__(self) -> None:
        """No pod is known, and nothing labelled."""
        self.names = EntityNames()
        self._changing = threading.Lock()

    def know(self, pods: Mapping[str, Pod]) -> None:
        """These are the pods of the node from now on."""
        with self._changing:
            self.names = replace(self.names, pods=pods)

    def label_by(self, label: Labelling) -> None:
        """Metrics are labelled so from now on."""
        with self._changing:
            if label != self.names.label:
                self.names = replace(self.names, label=label)
