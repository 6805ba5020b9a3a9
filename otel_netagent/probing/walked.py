"""Numbers of each namespace: from the walk, or from procfs, for more CPU time, where the walk does not have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import NamedTuple, TypeAlias, TypeVar

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.probe_status import HookStatus, Refusal
from otel_netagent.probing.declaration import Environment
from otel_netagent.probing.reading import PROCFS

RecordT = TypeVar("RecordT", bound=NamedTuple)

Reader: TypeAlias = Callable[[Iterable[Namespace]], Iterable[tuple[Namespace, RecordT]]]
"""Gives the numbers of each namespace that is still there."""


def start_reader(
    environment: Environment, purpose: str, part: str, record: type[RecordT], by_procfs: Reader[RecordT]
) -> tuple[Reader[RecordT], HookStatus]:
    """A reader of a part of the walk (kernel.namespaces), of which `record` names the members, at least two.

    `by_procfs` gives the same.
    """
    positions = environment.walk.walk.positions
    if missing := [name for name in record._fields if (part, name) not in positions]:
        refused = environment.walk.refused or (
            Refusal(environment.walk.walk.way, f"does not show {', '.join(missing)} on this kernel"),
        )
        return by_procfs, HookStatus(purpose, PROCFS, refused)
    pick = itemgetter(*(positions[part, name] for name in record._fields))

    def read(namespaces: Iterable[Namespace]) -> Iterator[tuple[Namespace, RecordT]]:
        return ((namespace, record._make(pick(namespace.counters))) for namespace in namespaces)

    return read, environment.walk.hook(purpose)
