"""Rows of series whose labels have values that nobody knows beforehand, bounded for each namespace."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

from otel_netagent.model.table import Values

OTHER: Final = "other"
"""Value of every label of the row that the excess is in."""

LabelValues: TypeAlias = tuple[str, ...]


class Bounded:
    """Gives each namespace so many rows of its own, to those that come first, and sums up the others.

    Who has a row keeps it for as long as it is there, so that no counter goes back, and none of the excess gets one
    before there is room.
    """

    def __init__(self, limit: int) -> None:
        """No namespace, by its cookie, has more than `limit` rows, and the one of the excess."""
        self._limit = limit
        self._kept: dict[int, set[LabelValues]] = {}

    def fold(self, cookie: int, rows: Mapping[LabelValues, Values]) -> dict[LabelValues, Values]:
        """The rows of a namespace, with the excess added up. Of those that are new, the first in `rows` come first."""
        kept = self._kept.setdefault(cookie, set())
        kept.intersection_update(rows)
        excess: list[LabelValues] = []
        for labels in rows:
            if labels in kept or len(kept) < self._limit:
                kept.add(labels)
            else:
                excess.append(labels)
        if not excess:
            return dict(rows)
        folded = {labels: rows[labels] for labels in rows if labels in kept}
        together = tuple(map(sum, zip(*(rows[labels] for labels in excess), strict=True)))
        return folded | {(OTHER,) * len(excess[0]): together}

    def keep_only(self, cookies: Collection[int]) -> None:
        """Forget the namespaces that are gone."""
        self._kept = {cookie: kept for cookie, kept in self._kept.items() if cookie in cookies}
