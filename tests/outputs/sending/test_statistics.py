"""The counters of what was let go."""

from __future__ import annotations

from otel_netagent.outputs.sending import NO_POD, Cause, PodName
from otel_netagent.outputs.sending.statistics import DeliveryCounters


def test_pods_without_end_are_told_apart_up_to_a_bound() -> None:
    counters = DeliveryCounters()
    for number in range(3_000):
        counters.dropped(Cause.SPOOL_FULL, {PodName("shop", str(number)): 1})
    statistics = counters.statistics(queued=0, spool_bytes=0)
    assert statistics.dropped[Cause.SPOOL_FULL] == 3_000
    assert len(statistics.dropped_by_pod) == 1_001
    assert statistics.dropped_by_pod[Cause.SPOOL_FULL, NO_POD] == 2_000
