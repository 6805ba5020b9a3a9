"""Numbers of each namespace that the walk has on its way, and procfs, for more CPU time, where it has not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import TypeAlias

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.probing.declaration import Environment
from otel_netagent.probing.reading import PROCFS
from otel_netagent.telemetry.snapshot import Values
from otel_netagent.telemetry.status import HookStatus, Refusal

Reader: TypeAlias = Callable[[Iterable[Namespace]], Iterable[tuple[Namespace, Values]]]
"""Gives the numbers of each namespace that is still there."""


def start_reader(
    environment: Environment, purpose: str, part: str, names: Sequence[str], by_procfs: Reader
) -> tuple[Reader, HookStatus]:
    """A reader of the numbers called `names`, at least two, of a part of the walk (kernel.namespaces), in their order.

    `by_procfs` gives the same.
    """
    positions = environment.walk.walk.positions
    if missing := [name for name in names if (part, name) not in positions]:
        refused = environment.walk.refused or (
            Refusal(environment.walk.walk.way, f"does not tell {', '.join(missing)} on this kernel"),
        )
        return by_procfs, HookStatus(purpose, PROCFS, refused)
    pick = itemgetter(*(positions[part, name] for name in names))

    def read(namespaces: Iterable[Namespace]) -> Iterator[tuple[Namespace, Values]]:
        return ((namespace, pick(namespace.counters)) for namespace in namespaces)

    return read, environment.walk.hook(purpose)
