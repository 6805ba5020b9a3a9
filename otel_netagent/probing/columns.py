"""Series with the fields that they show: what is read reaches the series declared for it by name, not by order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from otel_netagent.model.series import Series
from otel_netagent.model.table import Values

FieldT = TypeVar("FieldT")


@dataclass(frozen=True, slots=True)
class Column(Generic[FieldT]):
    """A series and the field that it shows: as the kernel calls it, or the C structure that has its number."""

    field: FieldT
    series: Series


class Columns:
    """The series of one table. Their fields are members of the records that are read for it."""

    def __init__(self, *columns: Column[str]) -> None:
        """Rows have the order of these."""
        self.fields: Final = tuple(column.field for column in columns)
        self.series: Final = tuple(column.series for column in columns)

    def row(self, record: NamedTuple) -> Values:
        """What a record has of each series."""
        return tuple([getattr(record, field) for field in self.fields])
