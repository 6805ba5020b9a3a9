"""Snapshots through the OpenTelemetry API: every declared series as an observable instrument."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

from otel_netagent import __version__
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Table
from otel_netagent.outputs.otlp.attributes import INT64, scope_name, valid_attribute
from otel_netagent.outputs.row_forms import RowForms

_Attributes: TypeAlias = dict[str, str | int]
_Column: TypeAlias = tuple[Sequence[_Attributes], Sequence[int]]
"""(attributes of each row, the row's value)."""


class Instruments:
    """The instruments of one provider, which show the snapshot that was published last.

    No instrument of the API accepts what has been counted in buckets elsewhere, so histograms are left out.
    """

    def __init__(self, provider: MeterProvider, declared: Mapping[str, Iterable[Series]], node: str) -> None:
        """Create them for the series that each probe declares, on the node of this name; they show nothing yet."""
        self._rows = RowForms(node, _valid)
        self._columns: Mapping[tuple[str, str], _Column] = {}
        for probe, all_series in declared.items():
            meter = provider.get_meter(scope_name(probe), __version__)
            for series in all_series:
                self._create(meter, probe, series)

    def publish(self, snapshot: Snapshot) -> None:
        """Show this snapshot from now on. Not for several threads at once."""
        self._columns = {
            (table.probe, series.name): (rows, column)
            for table in snapshot.tables
            if isinstance(table, Table) and (rows := self._rows.of(table, snapshot.entities))
            for series, column in zip(table.series, zip(*table.rows.values(), strict=True), strict=True)
        }
        self._rows.forget_unused()

    def clear(self) -> None:
        """Show nothing. The API cannot remove an instrument."""
        self._columns = {}

    def _create(self, meter: Meter, probe: str, series: Series) -> None:
        observe = [self._callback((probe, series.name))]
        match series.kind:
            case Kind.COUNTER:
                meter.create_observable_counter(series.name, observe, series.unit, series.help)
            case Kind.GAUGE:
                meter.create_observable_gauge(series.name, observe, series.unit, series.help)
            case Kind.HISTOGRAM:
                pass

    def _callback(self, key: tuple[str, str]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            rows, column = self._columns.get(key, ((), ()))
            return [Observation(_number(value), row) for row, value in zip(rows, column, strict=True)]

        return observe


def _valid(labels: Mapping[str, str]) -> _Attributes:
    return {name: valid_attribute(value) for name, value in labels.items()}


def _number(value: int) -> int | float:
    """As a double where it is beyond 64 bits with sign, which no exporter could encode."""
    return value if value in INT64 else float(value)
