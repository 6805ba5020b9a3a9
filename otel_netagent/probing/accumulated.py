"""Histograms of what each collection observes again, added up for each namespace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.table import Distribution, RowKey


class Accumulated:
    """All that was observed so far of one series. A namespace has a row from its first observation on."""

    def __init__(self) -> None:
        """Nothing was observed."""
        self._totals: dict[int, Distribution] = {}

    def add(
        self, observed: Mapping[int, Distribution], namespaces: Iterable[Namespace]
    ) -> dict[RowKey, tuple[Distribution, ...]]:
        """Add what each namespace has observed now, and forget those that are not among `namespaces`.

        `observed` is by inode, being of this moment; what is kept is by cookie.
        """
        totals: dict[int, Distribution] = {}
        for namespace in namespaces:
            total = self._totals.get(namespace.cookie)
            if (now := observed.get(namespace.inode)) is not None:
                total = now if total is None else _sum(total, now)
            if total is not None and any(total.counts):
                totals[namespace.cookie] = total
        self._totals = totals
        return {(cookie, ()): (total,) for cookie, total in totals.items()}


def _sum(one: Distribution, other: Distribution) -> Distribution:
    return Distribution(tuple(map(int.__add__, one.counts, other.counts)), one.sum + other.sum)
