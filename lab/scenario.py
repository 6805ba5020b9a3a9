"""The form that all faults share: a name, and a function that makes the fault on a stage and returns its truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lab.truth import Family, Truth

Stage = TypeVar("Stage")

ALL_FAMILIES = tuple(Family)
WITHOUT_SOCKETS = (Family.IPV4, Family.IPV6)
"""For faults that no socket has a part in: IPv4 on IPv6 sockets would be IPv4 again."""


@dataclass(frozen=True, slots=True)
class Scenario(Generic[Stage]):
    """One fault. When `play` returns, it has happened: nothing of it is still under way.

    `deferred` says that a timer or another process brings it about, and no system call of the calling thread.
    """

    name: str
    play: Callable[[Stage, Family], Truth]
    families: tuple[Family, ...] = ALL_FAMILIES
    deferred: bool = False


Case = tuple[Scenario[Stage], Family]


def cases(scenarios: Iterable[Scenario[Stage]]) -> list[Case[Stage]]:
    """Each scenario with each of its families: arguments for `pytest.mark.parametrize`."""
    return [(scenario, family) for scenario in scenarios for family in scenario.families]


def case_id(value: object) -> str:
    """How pytest shall name the part of a case: `ids` of `pytest.mark.parametrize`."""
    return value.name if isinstance(value, Scenario | Family) else str(value)
