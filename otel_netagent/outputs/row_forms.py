"""The labels of a snapshot's rows in the form of each metric output, made once for as long as the row exists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.identity.entity import Entity
from otel_netagent.model.table import AnyTable, RowKey

T = TypeVar("T")

_Rows: TypeAlias = dict[RowKey, tuple[Entity, T]]
"""(entity, form) of each row, by its key."""


def entity_labels(entity: Entity, node: str) -> dict[str, str]:
    """The four labels of every entity, in their order."""
    return {"namespace": entity.namespace, "netns": entity.netns_label, "node": node, "pod": entity.pod}


def metric_labels(entity: Entity, node: str) -> dict[str, str]:
    """The labels of an entity's metrics: the four, and those that the configuration asks for."""
    return entity_labels(entity, node) | dict(entity.labels)


class RowNames(Generic[T]):
    """An output's form of the labels of each row; `make` gives it for the labels by name, in their order.

    Forms are kept from one snapshot to the next, since rows rarely change. Not thread-safe.
    """

    def __init__(self, node: str, make: Callable[[dict[str, str]], T]) -> None:
        """`node` is the value of the label `node`."""
        self._node = node
        self._make = make
        self._kept: dict[tuple[str, ...], _Rows[T]] = {}  # by the names of a table's labels

    def of(self, snapshot: Snapshot) -> tuple[list[list[T]], list[list[T]]]:
        """For each table of the snapshot, and for each of its histograms, a form for each row, in their order."""
        # Only what this snapshot uses is kept: nothing remains of an entity that is gone.
        used: dict[tuple[str, ...], _Rows[T]] = {}
        tables: tuple[AnyTable[Any], ...] = (*snapshot.tables, *snapshot.histograms)
        names = [self._forms(table, snapshot.entities, used.setdefault(table.labels, {})) for table in tables]
        self._kept = used
        return names[: len(snapshot.tables)], names[len(snapshot.tables) :]

    def _forms(self, table: AnyTable[Any], entities: Mapping[int, Entity], used: _Rows[T]) -> list[T]:
        kept = self._kept.get(table.labels, {})
        forms = []
        for key in table.rows:
            entity = entities[key[0]]
            row = used.get(key) or kept.get(key)
            # By identity: a changed entity is another object, and comparing or hashing would be most of the cost.
            if row is None or row[0] is not entity:
                row = entity, self._name(entity, table.labels, key[1])
            used[key] = row
            forms.append(row[1])
        return forms

    def _name(self, entity: Entity, labels: tuple[str, ...], values: tuple[str, ...]) -> T:
        return self._make(metric_labels(entity, self._node) | dict(zip(labels, values, strict=True)))
