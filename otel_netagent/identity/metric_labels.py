"""Labels that metrics have of a pod beside the four of every entity: all that there are, or a choice.

Names are valid in Prometheus and the same in OTLP, so that series are the same by every way.
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
"""Labels that every series has in any case, and the one of a histogram's buckets."""

NAME: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
"""A name of a label ("Prometheus data model"); what begins with two underscores is Prometheus' own."""

MOST_LABELS: Final = 20
"""Of a pod's labels. With all others a series has fewer than 30, which is what Mimir takes by default
(`max_label_names_per_series`)."""

LONGEST_NAME: Final = 128
LONGEST_VALUE: Final = 63
"""What Kubernetes lets a value be at most."""

_PREFIX: Final = "label_"
_NO_NAME_CHARACTER: Final = re.compile(r"[^a-zA-Z0-9_]")
_NEW_WORD: Final = re.compile(r"([a-z0-9])([A-Z])")

META: Final[Mapping[str, Callable[[Entity, Pod | None], str]]] = {
    "ip": lambda _, pod: pod.ip if pod else "",
    "netns": lambda entity, _: entity.netns_label,
    "workload": lambda entity, _: entity.workload.name if entity.workload else "",
    "workload_kind": lambda entity, _: entity.workload.kind if entity.workload else "",
}
"""What is known of an entity that is no label of Kubernetes; empty where it is not known. The first two are the
open-source twin's."""


def all_labels(entity: Entity, pod: Pod | None) -> Labelled:
    """`ip`, and the pod's labels, as kube-state-metrics names them; in the alphabet's order, as many as may be."""
    if pod is None:
        return Labelled(())
    told = [(name, pod.labels[key]) for key, name in prometheus_names(pod.labels).items() if pod.labels[key]]
    fitting = [(name, value) for name, value in told if len(name) <= LONGEST_NAME and len(value) <= LONGEST_VALUE]
    address = META["ip"](entity, pod)
    own = (("ip", address),) if address else ()
    return Labelled((*own, *fitting[:MOST_LABELS]), left_out=len(told) - len(fitting[:MOST_LABELS]))


@dataclass(frozen=True, slots=True)
class Chosen:
    """One label: its name, and whether its value is the pod's label of the key `source`, or of META."""

    name: str
    source: str
    meta: bool

    def value(self, entity: Entity, pod: Pod | None) -> str:
        """Empty where there is none, which in Prometheus is the same as no label."""
        if self.meta:
            return META[self.source](entity, pod)
        return pod.labels.get(self.source, "") if pod else ""


@dataclass(frozen=True, slots=True)
class ChosenLabels:
    """These labels and no others."""

    chosen: tuple[Chosen, ...]

    def __call__(self, entity: Entity, pod: Pod | None) -> Labelled:
        """Those that have a value."""
        told = [(each.name, each.value(entity, pod)) for each in self.chosen]
        fitting = tuple((name, value) for name, value in told if value and len(value) <= LONGEST_VALUE)
        return Labelled(fitting, left_out=sum(len(value) > LONGEST_VALUE for _, value in told))


def prometheus_names(keys: Iterable[str]) -> Mapping[str, str]:
    """For each key of a label its name, as kube-state-metrics has it, so that one can join its `kube_pod_labels`.

    Source: its `internal/store/utils.go`. What several keys come to is numbered in the keys' order, as
    `label_a_b_conflict1`. No two names are the same, also where a key is spelt like a numbered name.
    """
    wanted = {key: _PREFIX + _snake_case(as_name(key)) for key in sorted(keys)}
    claims = Counter(wanted.values())
    taken = {name for name, claimed in claims.items() if claimed == 1}
    numbered = {name: _numbered(name, taken) for name, claimed in claims.items() if claimed > 1}
    return {key: next(numbered[name]) if name in numbered else name for key, name in wanted.items()}


def as_name(key: str) -> str:
    """The key of a label with an underscore for each character that no name may have."""
    return _NO_NAME_CHARACTER.sub("_", key)


def _snake_case(name: str) -> str:
    return _NEW_WORD.sub(r"\1_\2", name).lower()


def _numbered(name: str, taken: set[str]) -> Iterator[str]:
    for number in count(1):
        if (candidate := f"{name}_conflict{number}") not in taken:
            taken.add(candidate)
            yield candidate
