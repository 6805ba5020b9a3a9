"""`/metrics` read strictly: its exact form, as the original's users rely on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Self, TypeAlias

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint, NumberDataPoint

Point: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels of a series, the labels in their order."""

_SAMPLE = re.compile(
    r'([a-z_0-9]+)\{namespace="[^"]+",netns="ns\d+",node="[^"]+",pod="[^"]+"(?:,[a-z]+="[^"]*")*\} '
    r"(\d[\d.e-]*) (\d{13})"
)
_OF_ITSELF = re.compile(
    r"(?:target_info|process_\w+|netagent_(?:collection|delivery|entities|events_discarded|kubernetes|labels|log|probe|text)\w*)"
    r'\{(?:\w+="[^"]*",?)+\} \d[\d.e+-]*'
)
"""What the agent says of itself, which comes last, and without a time."""

_LABEL = re.compile(r'([a-z]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Exposition:
    """All values of one collection, and its Unix time in milliseconds."""

    time_ms: int
    values: Mapping[Point, float]

    @staticmethod
    def time_ms_of(text: str) -> int:
        """The time alone: of all values it is the same."""
        return max(int(sample[3]) for sample in _SAMPLE.finditer(text))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the answer to a scrape, of which every line must have the form."""
        lines = [line for line in text.splitlines() if not line.startswith("#") and not _OF_ITSELF.fullmatch(line)]
        samples = [_SAMPLE.fullmatch(line) for line in lines]
        wrong = [line for line, sample in zip(lines, samples, strict=True) if sample is None]
        assert not wrong, f"not of the form of a sample: {wrong[:3]}"
        matched = [sample for sample in samples if sample]
        values = {(sample[1], tuple(_LABEL.findall(sample[0]))): _number(sample[2]) for sample in matched}
        times = {int(sample[3]) for sample in matched}
        assert len(values) == len(lines), "a series comes twice"
        assert len(times) == 1, f"one collection has one time, not {times}"
        return cls(times.pop(), values)

    @property
    def pods(self) -> set[str]:
        """Whom it speaks of."""
        return {value for _, labels in self.values for name, value in labels if name == "pod"}

    def of(self, pod: str, *labels: str) -> dict[str, float]:
        """Values of a pod by the name of their series, and by the values of these labels where it has them."""
        found = {}
        for (name, pairs), value in self.values.items():
            own = dict(pairs)
            if own["pod"] == pod and len(own) == 4 + len(labels) and own.keys() >= set(labels):
                found[",".join([name, *(own[label] for label in labels)])] = value
        return found


def _number(text: str) -> float:
    """Exact where it is whole: counters may be beyond what a float can hold."""
    return int(text) if text.isdecimal() else float(text)


def delivered(request: ExportMetricsServiceRequest, time_ms: int) -> dict[Point, float]:
    """The values of this collection (Unix time in milliseconds) that an OTLP request has, in the same form."""
    found: dict[Point, float] = {}
    for resource in request.resource_metrics:
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            for point in [*metric.sum.data_points, *metric.gauge.data_points]:
                if point.time_unix_nano // 1_000_000 == time_ms:
                    found[metric.name, _labels(point)] = point.as_int
            for each in metric.histogram.data_points:
                if each.time_unix_nano // 1_000_000 == time_ms:
                    found |= _flattened(metric.name, each)
    return found


def _labels(point: NumberDataPoint | HistogramDataPoint) -> tuple[tuple[str, str], ...]:
    return tuple((each.key, each.value.string_value) for each in point.attributes)


def _flattened(name: str, point: HistogramDataPoint) -> dict[Point, float]:
    """The samples that Prometheus makes of a histogram."""
    labels = _labels(point)
    bounds = [*map(str, point.explicit_bounds), "+Inf"]
    counts = zip(bounds, accumulate(point.bucket_counts), strict=True)
    buckets: dict[Point, float] = {(f"{name}_bucket", (*labels, ("le", bound))): count for bound, count in counts}
    return buckets | {(f"{name}_sum", labels): point.sum, (f"{name}_count", labels): point.count}
