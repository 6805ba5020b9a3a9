"""What a row of a snapshot is called in every metric output, worked out once for as long as the row is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

from otel_netagent.identity.entity import Entity
from otel_netagent.telemetry.snapshot import AnyTable, Snapshot

T = TypeVar("T")

_Row: TypeAlias = tuple[Entity, tuple[str, ...], tuple[str, ...]]
"""(whose row it is, names of the table's labels, their values)."""


def entity_labels(entity: Entity, node: str) -> dict[str, str]:
    """The four labels that everything of an entity has, in their order."""
    return {"namespace": entity.namespace, "netns": entity.netns_label, "node": node, "pod": entity.pod}


class RowNames(Generic[T]):
    """An output's form of the labels of each row; `make` gives it for the labels by name, in their order.

    Forms are kept from one snapshot to the next, since rows rarely change. Not for several threads at once.
    """

    def __init__(self, node: str, make: Callable[[dict[str, str]], T]) -> None:
        """Name rows as those of this node."""
        self._node = node
        self._make = make
        self._kept: dict[_Row, T] = {}

    def of(self, snapshot: Snapshot) -> tuple[list[list[T]], list[list[T]]]:
        """For each table of the snapshot, and for each of its histograms, a form for each row, in their order."""
        # Only what this snapshot uses is kept, so that nothing stays of an entity that is gone; and since
        # the entity is part of the key, a changed identity never meets what was made for the old one.
        used: dict[_Row, T] = {}
        names = []
        tables: tuple[AnyTable[Any], ...] = (*snapshot.tables, *snapshot.histograms)
        for table in tables:
            rows = [(snapshot.entities[netns], table.labels, values) for netns, values in table.rows]
            forms = [self._kept[row] if row in self._kept else self._name(row) for row in rows]
            used.update(zip(rows, forms, strict=True))
            names.append(forms)
        self._kept = used
        return names[: len(snapshot.tables)], names[len(snapshot.tables) :]

    def _name(self, row: _Row) -> T:
        entity, labels, values = row
        return self._make(entity_labels(entity, self._node) | dict(zip(labels, values, strict=True)))
