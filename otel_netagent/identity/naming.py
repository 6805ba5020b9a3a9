"""Names and labels from Kubernetes, added to the entities that are found in procfs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from otel_netagent.identity.entity import Entity, LabelPairs
from otel_netagent.identity.pod import Pod


class Labelled(NamedTuple):
    """Labels of an entity's metrics, and the number of labels that were left out."""

    labels: LabelPairs
    left_out: int = 0


Labelling: TypeAlias = Callable[[Entity, Pod | None], Labelled]
"""Selects the labels that metrics get from an entity and, if Kubernetes knows it, from its pod."""


def unlabelled(entity: Entity, pod: Pod | None) -> Labelled:  # noqa: ARG001 - a Labelling
    """No labels besides those of every entity."""
    return Labelled(())


@dataclass(frozen=True, slots=True)
class EntityNames:
    """Pods by the UIDs in cgroup paths, and the labelling of metrics, at one moment."""

    pods: Mapping[str, Pod] = field(default_factory=dict)
    label: Labelling = unlabelled

    def of(self, entity: Entity) -> Entity:
        """The entity with its names and labels; the same object if nothing changes.

        An entity whose pod is not known (any more) keeps its name.
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
        """Start without pods and labels."""
        self.names = EntityNames()
        self._changing = threading.Lock()

    def know(self, pods: Mapping[str, Pod]) -> None:
        """Replace the pods of the node."""
        with self._changing:
            self.names = replace(self.names, pods=pods)

    def label_by(self, label: Labelling) -> None:
        """Replace the labelling of metrics."""
        with self._changing:
            if label != self.names.label:
                self.names = replace(self.names, label=label)
