"""Data points, encoded in two parts: one stays the same while a row exists, the other is new in each collection.

The first part, the head, has the attributes: nearly all of a point's bytes, and all of its cost. The second has value
and time in fields of fixed width, so that the head can contain the length of the whole. Joining them costs a fraction
of a microsecond. Decoders accept fields in any order
(Protocol Buffers documentation, "Encoding", "Field Order").
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, Final, Protocol, TypeVar

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

_TIME: Final = fixed_tag(NumberDataPoint.TIME_UNIX_NANO_FIELD_NUMBER)  # as in HistogramDataPoint
_INT: Final = fixed_tag(NumberDataPoint.AS_INT_FIELD_NUMBER)
_DOUBLE: Final = fixed_tag(NumberDataPoint.AS_DOUBLE_FIELD_NUMBER)
_COUNT: Final = fixed_tag(HistogramDataPoint.COUNT_FIELD_NUMBER)
_SUM: Final = fixed_tag(HistogramDataPoint.SUM_FIELD_NUMBER)

_INT_VALUE: Final = struct.Struct("<cq9s")
_DOUBLE_VALUE: Final = struct.Struct("<cd9s")


class Points(Protocol[ValueT_contra]):
    """How the points of a series are encoded."""

    def head(self, labels: Mapping[str, str], start_ns: int) -> bytes:
        """The first part of the points of the row with these labels, which began to count at this time."""

    def data(self, heads: Iterable[bytes], column: Sequence[ValueT_contra], time_ns: int) -> Parts:
        """The field of a metric that has its points: for each head a value, all at this time."""


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

    def head(self, labels: Mapping[str, str], start_ns: int) -> bytes:
        """See Points."""
        point = NumberDataPoint(start_time_unix_nano=start_ns if self._counts else 0)
        add_attributes(point.attributes, labels)
        return message_beginning(_DATA_POINTS, point.SerializeToString(), 2 * _FIXED_BYTES)

    def data(self, heads: Iterable[bytes], column: Sequence[int], time_ns: int) -> Parts:
        """See Points. A value beyond 64 bits with sign is sent as the nearest double."""
        time = _time(time_ns)
        try:
            values = [*map(_INT_VALUE.pack, repeat(_INT), column, repeat(time))]
        except struct.error:  # beyond 64 bits with sign, as the kernel's "no limit" is
            values = [_number(value, time) for value in column]
        return framed(self._field, (self._own, _joined(heads, values)))


class HistogramPoints:
    """Points of a histogram with these bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Encode for series with these bounds."""
        self._bounds = bounds
        self._own = Histogram(aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE).SerializeToString()
        buckets = len(bounds) + 1
        # A packed field is as long as a message of all its values would be.
        self._counts = message_beginning(HistogramDataPoint.BUCKET_COUNTS_FIELD_NUMBER, b"", 8 * buckets)
        self._value = struct.Struct(f"<9scQcd{len(self._counts)}s{buckets}Q")

    def head(self, labels: Mapping[str, str], start_ns: int) -> bytes:
        """See Points."""
        point = HistogramDataPoint(start_time_unix_nano=start_ns, explicit_bounds=self._bounds)
        add_attributes(point.attributes, labels)
        return message_beginning(_DATA_POINTS, point.SerializeToString(), self._value.size)

    def data(self, heads: Iterable[bytes], column: Sequence[Distribution], time_ns: int) -> Parts:
        """See Points."""
        pack, time = self._value.pack, _time(time_ns)
        values = [pack(time, _COUNT, sum(each.counts), _SUM, each.sum, self._counts, *each.counts) for each in column]
        return framed(Metric.HISTOGRAM_FIELD_NUMBER, (self._own, _joined(heads, values)))


def _time(time_ns: int) -> bytes:
    return _TIME + struct.pack("<Q", time_ns)


def _number(value: int, time: bytes) -> bytes:
    if value in INT64:
        return _INT_VALUE.pack(_INT, value, time)
    return _DOUBLE_VALUE.pack(_DOUBLE, float(value), time)


def _joined(heads: Iterable[bytes], values: Iterable[bytes]) -> bytes:
    return b"".join(chain.from_iterable(zip(heads, values, strict=True)))
