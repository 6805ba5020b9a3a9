"""A snapshot in the Prometheus text exposition format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Distribution
from otel_netagent.outputs.cumulative import samples_of
from otel_netagent.outputs.row_forms import RowForms
from otel_netagent.unicode import well_formed

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_LABEL_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def escape_help(text: str) -> str:
    """The text, escaped to stand after `# HELP name` ("Exposition formats", "Comments, help text")."""
    return well_formed(text).translate(_HELP_ESCAPES)


def escape_label_value(text: str) -> str:
    """The text, escaped to stand between the quotes of a label value."""
    return well_formed(text).translate(_LABEL_ESCAPES)


class _Column(NamedTuple):
    """A series of a table: the labels and the value of each row."""

    series: Series
    rows: Sequence[str]
    values: Sequence[Any]


class PrometheusText:
    """Renders snapshots as text.

    `timestamps` adds the time of the collection to each value. `aliases` also writes each series under its other
    names, as separate families. Not thread-safe.
    """

    def __init__(self, node: str, *, timestamps: bool = True, aliases: bool = True) -> None:
        """`node` is the value of the label `node`."""
        self._label_sets = RowForms(node, _label_set)
        self._timestamps = timestamps
        self._aliases = aliases

    def render(self, snapshot: Snapshot) -> Iterator[bytes]:
        """The answer to a scrape, one metric family at a time. Families without rows are left out."""
        ending = f" {snapshot.time_ns // 1_000_000}\n" if self._timestamps else "\n"
        for name, columns in self._families(snapshot).items():
            lines = [_header(name, columns[0].series)]
            for series, rows, values in columns:
                if series.kind is Kind.HISTOGRAM:
                    lines += _histogram(name, series, zip(rows, values, strict=True), ending)
                else:
                    lines += [f"{name}{row} {value}{ending}" for row, value in zip(rows, values, strict=True)]
            yield "".join(lines).encode()

    def _families(self, snapshot: Snapshot) -> dict[str, list[_Column]]:
        """The columns of each family, by its name: several tables may have the same series."""
        families: dict[str, list[_Column]] = {}
        for table in snapshot.tables:
            if rows := self._label_sets.of(table, snapshot.entities):
                for series, values in zip(table.series, zip(*table.rows.values(), strict=True), strict=True):
                    for name in self._names(series):
                        families.setdefault(name, []).append(_Column(series, rows, values))
        self._label_sets.forget_unused()
        return families

    def _names(self, series: Series) -> tuple[str, ...]:
        return (series.name, *series.aliases) if self._aliases else (series.name,)


def _label_set(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{escape_label_value(value)}"' for name, value in labels.items()) + "}"


def _histogram(name: str, series: Series, column: Iterable[tuple[str, Distribution]], ending: str) -> Iterator[str]:
    samples = samples_of(series)
    for row, distribution in column:
        for suffix, le, value in samples(distribution):
            labels = f'{row[:-1]},le="{le}"}}' if le else row
            yield f"{name}{suffix}{labels} {value}{ending}"


def _header(name: str, series: Series) -> str:
    return f"# HELP {name} {escape_help(series.help)}\n# TYPE {name} {series.kind.value}\n"
