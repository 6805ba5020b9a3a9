"""A snapshot in the Prometheus text exposition format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, chain

from otel_netagent.telemetry.rows import RowNames
from otel_netagent.telemetry.series import Series
from otel_netagent.telemetry.snapshot import AnyTable, Distribution, Snapshot, ValueT
from otel_netagent.unicode import well_formed

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_LABEL_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def escape_help(text: str) -> str:
    """The text as it may stand after `# HELP name` ("Exposition formats", "Comments, help text")."""
    return well_formed(text).translate(_HELP_ESCAPES)


def escape_label_value(text: str) -> str:
    """The text as it may stand between the quotes of a label's value."""
    return well_formed(text).translate(_LABEL_ESCAPES)


class PrometheusText:
    """Renders snapshots, one after another.

    `timestamps` gives each value the time of its collection, `aliases` emits a series under its other
    names too, as families of their own. Not for several threads at once.
    """

    def __init__(self, node: str, *, timestamps: bool = True, aliases: bool = True) -> None:
        """Render as the node of this name."""
        self._label_sets = RowNames(node, _label_set)
        self._timestamps = timestamps
        self._aliases = aliases

    def render(self, snapshot: Snapshot) -> bytes:
        """The whole answer to a scrape. A family whose table has no rows is left out."""
        families: dict[str, list[str]] = {}
        ending = f" {snapshot.time_ns // 1_000_000}\n" if self._timestamps else "\n"
        of_tables, of_histograms = self._label_sets.of(snapshot)
        for table, rows in zip(snapshot.tables, of_tables, strict=True):
            for series, column in _columns(table):
                for name in self._names(series):
                    family = families.setdefault(name, [_header(name, series)])
                    family += [f"{name}{row} {value}{ending}" for row, value in zip(rows, column, strict=True)]
        for histogram, rows in zip(snapshot.histograms, of_histograms, strict=True):
            for series, distributions in _columns(histogram):
                for name in self._names(series):
                    family = families.setdefault(name, [_header(name, series)])
                    family += _buckets(name, series, zip(rows, distributions, strict=True), ending)
        return "".join(chain.from_iterable(families.values())).encode()

    def _names(self, series: Series) -> tuple[str, ...]:
        return (series.name, *series.aliases) if self._aliases else (series.name,)


def _label_set(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{escape_label_value(value)}"' for name, value in labels.items()) + "}"


def _columns(table: AnyTable[ValueT]) -> Iterator[tuple[Series, tuple[ValueT, ...]]]:
    if table.rows:
        yield from zip(table.series, zip(*table.rows.values(), strict=True), strict=True)


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
