"""Data points, encoded in two parts: one stays the same while a row exists, the other is new in each collection.

The first part, the head, has the attributes, which are nearly all of a point's bytes and all of its cost. The second
has value and times, in fields of fixed width, so that the head can hold the length of the whole. To join both costs a
fraction of a microsecond. That the fields are not in the order of their numbers makes no difference to a decoder
(Protocol Buffers documentation, "Encoding", "Field Order").
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

from otel_netagent.model.series import Kind
from otel_netagent.model.table import Distribution
from otel_netagent.outputs.otlp.attributes import INT64, add_attributes
from otel_netagent.outputs.otlp.wire import Parts, fixed_tag, framed, message_beginning

ValueT_contra = TypeVar("ValueT_contra", contravariant=True)

_DATA_POINTS: Final = Gauge.DATA_POINTS_FIELD_NUMBER  # as in Sum and in Histogram

_FIXED_BYTES: Final = 9
"""Bytes of a field of fixed width, with its tag."""

_START: Final = fixed_tag(NumberDataPoint.START_TIME_UNIX_NANO_FIELD_NUMBER)  # as in HistogramDataPoint
_TIME: Final = fixed_tag(NumberDataPoint.TIME_UNIX_NANO_FIELD_NUMBER)  # as in HistogramDataPoint
_INT: Final = fixed_tag(NumberDataPoint.AS_INT_FIELD_NUMBER)
_DOUBLE: Final = fixed_tag(NumberDataPoint.AS_DOUBLE_FIELD_NUMBER)
_COUNT: Final = fixed_tag(HistogramDataPoint.COUNT_FIELD_NUMBER)
_SUM: Final = fixed_tag(HistogramDataPoint.SUM_FIELD_NUMBER)

_TIMES: Final = struct.Struct("<cQcQ")


class Times(NamedTuple):
    """Encoded times of a table's points: start and time of each row where it counts, else the time of all of them."""

    counted: Sequence[bytes]
    measured: bytes


def counted_from(start_ns: int, time_ns: int) -> bytes:
    """The times of a point that counts."""
    return _TIMES.pack(_START, start_ns, _TIME, time_ns)


def measured_at(time_ns: int) -> bytes:
    """The time of any other point."""
    return _TIME + struct.pack("<Q", time_ns)


class Points(Protocol[ValueT_contra]):
    """How the points of a series are encoded."""

    def head(self, labels: Mapping[str, str]) -> bytes:
        """The first part of the points of the row with these labels."""

    def data(self, heads: Iterable[bytes], column: Sequence[ValueT_contra], times: Times) -> Parts:
        """The field of a metric that has its points: for each head a value."""


def points_of(kind: Kind, bounds: tuple[float, ...]) -> Points[Any]:
    """The encoding for a series of this kind with these bounds."""
    return HistogramPoints(bounds) if kind is Kind.HISTOGRAM else NumberPoints(kind)


class NumberPoints:
    """Points of a counter or of a gauge."""

    def __init__(self, kind: Kind) -> None:
        """`kind` is COUNTER or GAUGE; a gauge's points have no start time."""
        self._counts = kind is Kind.COUNTER
        if self._counts:
            own = Sum(aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE, is_monotonic=True)
            self._field, self._own = Metric.SUM_FIELD_NUMBER, own.SerializeToString()
        else:
            self._field, self._own = Metric.GAUGE_FIELD_NUMBER, b""
        times_bytes = 2 * _FIXED_BYTES if self._counts else _FIXED_BYTES
        self._int = struct.Struct(f"<cq{times_bytes}s")
        self._double = struct.Struct(f"<cd{times_bytes}s")

    def head(self, labels: Mapping[str, str]) -> bytes:
        """See Points."""
        point = NumberDataPoint()
        add_attributes(point.attributes, labels)
        return message_beginning(_DATA_POINTS, point.SerializeToString(), self._int.size)

    def data(self, heads: Iterable[bytes], column: Sequence[int], times: Times) -> Parts:
        """See Points. A value beyond 64 bits with sign is sent as the nearest double."""
        of_points = times.counted if self._counts else repeat(times.measured)
        try:
            values = [*map(self._int.pack, repeat(_INT), column, of_points)]
        except struct.error:  # beyond 64 bits with sign, as the kernel's "no limit" is
            values = [*map(self._number, column, of_points)]
        return framed(self._field, (self._own, _joined(heads, values)))

    def _number(self, value: int, times: bytes) -> bytes:
        if value in INT64:
            return self._int.pack(_INT, value, times)
        return self._double.pack(_DOUBLE, float(value), times)


class HistogramPoints:
    """Points of a histogram with these bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Encode for series with these bounds."""
        self._bounds = bounds
        self._own = Histogram(aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE).SerializeToString()
        buckets = len(bounds) + 1
        # A packed field is as long as a message of all its values would be.
        self._counts = message_beginning(HistogramDataPoint.BUCKET_COUNTS_FIELD_NUMBER, b"", 8 * buckets)
        self._value = struct.Struct(f"<{2 * _FIXED_BYTES}scQcd{len(self._counts)}s{buckets}Q")

    def head(self, labels: Mapping[str, str]) -> bytes:
        """See Points."""
        point = HistogramDataPoint(explicit_bounds=self._bounds)
        add_attributes(point.attributes, labels)
        return message_beginning(_DATA_POINTS, point.SerializeToString(), self._value.size)

    def data(self, heads: Iterable[bytes], column: Sequence[Distribution], times: Times) -> Parts:
        """See Points."""
        pack = self._value.pack
        values = [
            pack(of_point, _COUNT, sum(each.counts), _SUM, each.sum, self._counts, *each.counts)
            for each, of_point in zip(column, times.counted, strict=True)
        ]
        return framed(Metric.HISTOGRAM_FIELD_NUMBER, (self._own, _joined(heads, values)))


def _joined(heads: Iterable[bytes], values: Iterable[bytes]) -> bytes:
    return b"".join(chain.from_iterable(zip(heads, values, strict=True)))
