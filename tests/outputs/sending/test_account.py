"""The account of what was let go."""

from __future__ import annotations

from otel_netagent.outputs.sending import NO_POD, Cause, Pod
from otel_netagent.outputs.sending.statistics import Account


def test_pods_without_end_are_told_apart_up_to_a_bound() -> None:
    account = Account()
    for number in range(3_000):
        account.let_go(Cause.SPOOL_FULL, {Pod("shop", str(number)): 1})
    tally = account.tally(queued=0, spool_bytes=0)
    assert tally.let_go[Cause.SPOOL_FULL] == 3_000
    assert len(tally.let_go_by_pod) == 1_001
    assert tally.let_go_by_pod[Cause.SPOOL_FULL, NO_POD] == 2_000
