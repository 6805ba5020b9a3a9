"""Counters that never go back, made of the kernel's, which may: they overflow, or go with what they are counters of."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from otel_netagent.model.table import Values

Owner = TypeVar("Owner", bound=Hashable)
Part = TypeVar("Part", bound=Hashable)

_WORD: Final = 1 << 32


@dataclass(slots=True)
class _Carried(Generic[Part]):
    """The last readings of an owner's parts, and all that they have come to."""

    parts: Mapping[Part, Values]
    totals: Values


class Monotonic(Generic[Owner, Part]):
    """Totals of owners whose parts (CPUs, devices) count, each from 0 when it comes.

    An owner is a namespace, by its cookie, so that the next with its inode number begins at 0; or the node. What a part
    that goes has counted stays in its owner's total.
    """

    def __init__(self, counters: int, *, overflowing: bool = False) -> None:
        """So many counters has each part. With `overflowing` they have 32 bits, and go on from 0 when they are full."""
        self._nothing: _Carried[Part] = _Carried({}, (0,) * counters)
        self._overflowing = overflowing
        self._known: dict[Owner, _Carried[Part]] = {}

    def totals(self, readings: Mapping[Owner, Mapping[Part, Values]]) -> dict[Owner, Values]:
        """Total of each owner by these readings. Owners that are not read any more are forgotten."""
        self._known = {owner: self._carried(owner, parts) for owner, parts in readings.items()}
        return {owner: known.totals for owner, known in self._known.items()}

    def _carried(self, owner: Owner, parts: Mapping[Part, Values]) -> _Carried[Part]:
        known = self._known.get(owner, self._nothing)
        totals = known.totals
        for part, now in parts.items():
            before = known.parts.get(part)
            if before is None:
                totals = tuple(map(int.__add__, totals, now))
            elif before != now:
                totals = tuple(map(self._advance, totals, before, now))
        return _Carried(parts, totals)

    def _advance(self, total: int, before: int, now: int) -> int:
        """A counter that falls began again at 0; one of 32 bits that falls by more than half of its range was full."""
        if now >= before:
            return total + now - before
        if self._overflowing and before - now > _WORD // 2:
            return total + (now - before) % _WORD
        return total + now
