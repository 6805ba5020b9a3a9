"""What a record has reaches the series that is declared for it, whatever the order of the two."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.model.series import Kind, Series
from otel_netagent.probing.columns import Column, Columns


class Record(NamedTuple):
    """Some numbers, and one that they come to."""

    first: int
    second: int

    @property
    def sum(self) -> int:
        """Of both."""
        return self.first + self.second


def column(field: str) -> Column[str]:
    return Column(field, Series(f"inspector_pod_{field}", Kind.GAUGE, "1", "a number", "a record"))


@given(
    st.lists(st.sampled_from(["first", "second", "sum"]), min_size=1, unique=True),
    st.builds(Record, st.integers(), st.integers()),
)
def test_any_columns_show_their_own_fields(fields: list[str], record: Record) -> None:
    columns = Columns(*map(column, fields))
    shown = {series.name: value for series, value in zip(columns.series, columns.row(record), strict=True)}
    truth = {"first": record[0], "second": record[1], "sum": record[0] + record[1]}
    assert shown == {f"inspector_pod_{field}": truth[field] for field in fields}


def test_a_field_that_a_record_does_not_have_is_named() -> None:
    with pytest.raises(AttributeError, match="third"):
        Columns(column("third")).row(Record(1, 2))
