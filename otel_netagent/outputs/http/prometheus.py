"""A snapshot in the Prometheus text exposition format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import AnyTable, Distribution
from otel_netagent.outputs.row_forms import RowNames
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
        self._label_sets = RowNames(node, _label_set)
        self._timestamps = timestamps
        self._aliases = aliases

    def render(self, snapshot: Snapshot) -> Iterator[bytes]:
        """The answer to a scrape, one metric family at a time. Families without rows are left out."""
        ending = f" {snapshot.time_ns // 1_000_000}\n" if self._timestamps else "\n"
        for name, columns in self._families(snapshot).items():
            lines = [_header(name, columns[0].series)]
            for series, rows, values in columns:
                if series.kind is Kind.HISTOGRAM:
                    lines += _buckets(name, series, zip(rows, values, strict=True), ending)
                else:
                    lines += [f"{name}{row} {value}{ending}" for row, value in zip(rows, values, strict=True)]
            yield "".join(lines).encode()

    def _families(self, snapshot: Snapshot) -> dict[str, list[_Column]]:
        """The columns of each family, by its name: several tables may have the same series."""
        families: dict[str, list[_Column]] = {}
        of_tables, of_histograms = self._label_sets.of(snapshot)
        tables: tuple[AnyTable[Any], ...] = (*snapshot.tables, *snapshot.histograms)
        for table, rows in zip(tables, (*of_tables, *of_histograms), strict=True):
            if table.rows:
                for series, values in zip(table.series, zip(*table.rows.values(), strict=True), strict=True):
                    for name in self._names(series):
                        families.setdefault(name, []).append(_Column(series, rows, values))
        return families

    def _names(self, series: Series) -> tuple[str, ...]:
        return (series.name, *series.aliases) if self._aliases else (series.name,)


def _label_set(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{escape_label_value(value)}"' for name, value in labels.items()) + "}"


def _buckets(name: str, series: Series, column: Iterable[tuple[str, Distribution]], ending: str) -> Iterator[str]:
    """Samples of a histogram, whose buckets are cumulative here ("Exposition formats", "Histograms and summaries")."""
    bounds = [*map(repr, series.bounds), "+Inf"]
    for row, distribution in column:
        for bound, count in zip(bounds, accumulate(distribution.counts), strict=True):
            yield f'{name}_bucket{row[:-1]},le="{bound}"}} {count}{ending}'
        yield f"{name}_sum{row} {distribution.sum}{ending}"
        yield f"{name}_count{row} {sum(distribution.counts)}{ending}"


def _header(name: str, series: Series) -> str:
    return f"# HELP {name} {escape_help(series.help)}\n# TYPE {name} {series.kind.value}\n"
