"""What the walk has is taken from it; what it has not, from procfs, and it is said why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from otel_netagent.kernel.namespaces import Field, Namespace
from otel_netagent.model.probe_status import HookStatus, Refusal
from otel_netagent.probing.declaration import Environment, WalkAccess
from otel_netagent.probing.walked import start_reader

SEEN = Namespace(inode=4026531840, cookie=1, pid=1, counters=(10, 11, 12))


class Part(NamedTuple):
    """What is asked for of the part."""

    second: int
    first: int


@dataclass(frozen=True)
class MadeUpWalk:
    """A walk that has these numbers."""

    positions: Mapping[Field, int]
    way: str = "iter/task"

    def take(self) -> list[Namespace]:
        """One namespace."""
        return [SEEN]

    def close(self) -> None:
        """Nothing is held."""


def by_procfs(namespaces: Iterable[Namespace]) -> Iterator[tuple[Namespace, Part]]:
    return ((namespace, Part(-1, -2)) for namespace in namespaces)


def started(access: WalkAccess) -> tuple[list[tuple[Namespace, Part]], HookStatus]:
    environment = Environment(None, "not asked for", access)
    read, hook = start_reader(environment, "numbers", "part", Part, by_procfs)
    return list(read(access.walk.take())), hook


def test_numbers_of_the_walk_are_found_by_their_names() -> None:
    walk = MadeUpWalk({("part", "first"): 2, ("other", "second"): 1, ("part", "second"): 0})
    assert started(WalkAccess(walk)) == ([(SEEN, (10, 12))], HookStatus("numbers", "iter/task"))


def test_what_the_walk_does_not_tell_is_read_from_procfs() -> None:
    walk = MadeUpWalk({("part", "first"): 2})
    refusal = Refusal("iter/task", "does not show second on this kernel")
    assert started(WalkAccess(walk)) == ([(SEEN, (-1, -2))], HookStatus("numbers", "procfs", (refusal,)))


def test_where_there_is_no_walk_in_the_kernel_the_reason_is_the_walks() -> None:
    refusal = Refusal("iter/task", "iterators need BTF in the kernel itself")
    access = WalkAccess(MadeUpWalk({}, way="procfs"), (refusal,))
    assert started(access) == ([(SEEN, (-1, -2))], HookStatus("numbers", "procfs", (refusal,)))
