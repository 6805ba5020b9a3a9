"""The labels of a snapshot's rows in the form of each metric output, made once for as long as the row exists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from otel_netagent.identity.entity import Entity
from otel_netagent.model.table import AnyTable, RowKey

T = TypeVar("T")

_Rows: TypeAlias = dict[RowKey, tuple[Entity, T]]
"""(entity, form) of each row, by its key."""

_RowsByLabels: TypeAlias = dict[tuple[str, ...], _Rows[T]]
"""By the names of a table's labels: tables that have the same ones share the forms of their rows."""


def entity_labels(entity: Entity, node: str) -> dict[str, str]:
    """The four labels of every entity, in their order."""
    return {"namespace": entity.namespace, "netns": entity.netns_label, "node": node, "pod": entity.pod}


class RowForms(Generic[T]):
    """An output's form of the labels of each row; `make` gives it for the labels by name, in their order.

    Forms are kept from one snapshot to the next, since rows rarely change. Each output has its own: what takes time and
    memory is the form, not the labels that it is made of. Not for several threads at once.
    """

    def __init__(self, node: str, make: Callable[[dict[str, str]], T]) -> None:
        """`node` is the value of the label `node`."""
        self._node = node
        self._make = make
        self._kept: _RowsByLabels[T] = {}
        self._used: _RowsByLabels[T] = {}

    def of(self, table: AnyTable[Any], entities: Mapping[int, Entity]) -> list[T]:
        """A form for each row of a table, in their order. Each row must have its entity."""
        kept, used = self._kept.get(table.labels, {}), self._used.setdefault(table.labels, {})
        forms = []
        for key in table.rows:
            entity = entities[key[0]]
            row = used.get(key)
            # By identity: a changed entity is another object, and to compare or to hash them would be most of the cost.
            if row is None or row[0] is not entity:
                row = kept.get(key)
                if row is None or row[0] is not entity:
                    row = entity, self._form(entity, table.labels, key[1])
                used[key] = row
            forms.append(row[1])
        return forms

    def forget_unused(self) -> None:
        """Forget what was not asked for since this was last called: at the end of each snapshot, those who are gone."""
        self._kept, self._used = self._used, {}

    def _form(self, entity: Entity, names: tuple[str, ...], values: tuple[str, ...]) -> T:
        labels = entity_labels(entity, self._node) | dict(entity.labels) | dict(zip(names, values, strict=True))
        return self._make(labels)
