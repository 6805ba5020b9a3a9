"""Labels of a pod that its metrics have besides the four of every entity: all labels of the pod, or chosen ones.

Names are valid in Prometheus and the same in OTLP, so that series are the same in every output.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final

from otel_netagent.identity.entity import Entity
from otel_netagent.identity.naming import Labelled
from otel_netagent.identity.pod import Pod

RESERVED: Final = ("namespace", "netns", "node", "pod", "le")
"""Labels that every series has anyway, and the label of a histogram's buckets."""

NAME: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
"""A name of a label ("Prometheus data model"); names with two underscores at the start are reserved."""

MOST_LABELS: Final = 20
"""The most labels of a pod. With the other labels a series has fewer than 30, Mimir's default limit
(`max_label_names_per_series`)."""

LONGEST_NAME: Final = 128
LONGEST_VALUE: Final = 63
"""Kubernetes' own limit for a label value."""

_PREFIX: Final = "label_"
_NO_NAME_CHARACTER: Final = re.compile(r"[^a-zA-Z0-9_]")
_NEW_WORD: Final = re.compile(r"([a-z0-9])([A-Z])")

META: Final[Mapping[str, Callable[[Entity, Pod | None], str]]] = {
    "ip": lambda _, pod: pod.ip if pod else "",
    "netns": lambda entity, _: entity.netns_label,
    "workload": lambda entity, _: entity.workload.name if entity.workload else "",
    "workload_kind": lambda entity, _: entity.workload.kind if entity.workload else "",
}
"""Properties of an entity that are not Kubernetes labels; empty where unknown. The first two are the open-source
twin's."""


def all_labels(entity: Entity, pod: Pod | None) -> Labelled:
    """`ip` and the pod's labels as kube-state-metrics names them, in alphabetical order, up to the limits."""
    if pod is None:
        return Labelled(())
    candidates = [(name, pod.labels[key]) for key, name in prometheus_names(pod.labels).items() if pod.labels[key]]
    fitting = [(name, value) for name, value in candidates if len(name) <= LONGEST_NAME and len(value) <= LONGEST_VALUE]
    address = META["ip"](entity, pod)
    own = (("ip", address),) if address else ()
    return Labelled((*own, *fitting[:MOST_LABELS]), left_out=len(candidates) - len(fitting[:MOST_LABELS]))


@dataclass(frozen=True, slots=True)
class Chosen:
    """One chosen label: its value is META[source] if `meta`, else the pod's label with the key `source`."""

    name: str
    source: str
    meta: bool

    def value(self, entity: Entity, pod: Pod | None) -> str:
        """The value; empty if there is none, which in Prometheus means no label."""
        if self.meta:
            return META[self.source](entity, pod)
        return pod.labels.get(self.source, "") if pod else ""


@dataclass(frozen=True, slots=True)
class ChosenLabels:
    """Selects these labels and no others."""

    chosen: tuple[Chosen, ...]

    def __call__(self, entity: Entity, pod: Pod | None) -> Labelled:
        """The chosen labels that have a value."""
        candidates = [(each.name, each.value(entity, pod)) for each in self.chosen]
        fitting = tuple((name, value) for name, value in candidates if value and len(value) <= LONGEST_VALUE)
        return Labelled(fitting, left_out=sum(len(value) > LONGEST_VALUE for _, value in candidates))


def prometheus_names(keys: Iterable[str]) -> Mapping[str, str]:
    """The label name of each key, as in kube-state-metrics, so that queries can join its `kube_pod_labels`.

    Source: its `internal/store/utils.go`. Keys that lead to the same name are numbered in the order of the keys:
    `label_a_b_conflict1`. All names differ, even if a key is spelt like a numbered name.
    """
    wanted = {key: _PREFIX + _snake_case(as_name(key)) for key in sorted(keys)}
    claims = Counter(wanted.values())
    taken = {name for name, claimed in claims.items() if claimed == 1}
    numbered = {name: _numbered(name, taken) for name, claimed in claims.items() if claimed > 1}
    return {key: next(numbered[name]) if name in numbered else name for key, name in wanted.items()}


def as_name(key: str) -> str:
    """The key of a label, with an underscore for each character that is not allowed in a name."""
    return _NO_NAME_CHARACTER.sub("_", key)


def _snake_case(name: str) -> str:
    return _NEW_WORD.sub(r"\1_\2", name).lower()


def _numbered(name: str, taken: set[str]) -> Iterator[str]:
    for number in count(1):
        if (candidate := f"{name}_conflict{number}") not in taken:
            taken.add(candidate)
            yield candidate
