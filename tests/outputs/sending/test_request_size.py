"""The size of requests follows a receiver's limit that it can only guess."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_netagent.outputs.sending.request_size import FLOOR_BYTES, RequestSize

CONFIGURED = 4_032 << 10
LIMITS = st.integers(FLOOR_BYTES, CONFIGURED)


def send(size: RequestSize, wanted: int, limit: int) -> tuple[int, int]:
    """Send `wanted` bytes in halves to a receiver with this limit: how many requests it accepted, and rejected."""
    if wanted > size.bytes:
        halves = [send(size, half, limit) for half in (wanted // 2, wanted - wanted // 2)]
        return sum(accepted for accepted, _ in halves), sum(rejected for _, rejected in halves)
    if wanted > limit:
        size.rejected(wanted)
        accepted, rejected = send(size, wanted // 2, limit)
        more_accepted, more_rejected = send(size, wanted - wanted // 2, limit)
        return accepted + more_accepted, 1 + rejected + more_rejected
    size.accepted(wanted)
    return 1, 0


@given(LIMITS, st.lists(st.integers(1, 2 * CONFIGURED), min_size=1, max_size=300))
def test_real_limit_is_found_whatever_is_sent(limit: int, wanted: list[int]) -> None:
    size = RequestSize(CONFIGURED)
    for each in wanted:
        send(size, each, limit)
        assert FLOOR_BYTES <= size.bytes <= CONFIGURED


@settings(max_examples=20)
@given(LIMITS)
def test_real_limit_costs_one_rejection_in_hundreds_and_is_used(limit: int) -> None:
    size = RequestSize(CONFIGURED)
    for _ in range(200):
        send(size, CONFIGURED, limit)
    counts = [send(size, CONFIGURED, limit) for _ in range(1_000)]
    accepted, rejected = (sum(column) for column in zip(*counts, strict=True))
    assert rejected <= accepted / 100
    smallest = 1
    while CONFIGURED / smallest > limit:
        smallest *= 2
    assert accepted <= 1_000 * 2 * smallest, "requests are not much smaller than they might be"


@settings(max_examples=20)
@given(LIMITS)
def test_requests_are_large_again_when_the_limit_has_gone(limit: int) -> None:
    size = RequestSize(CONFIGURED)
    for _ in range(1_000):
        send(size, CONFIGURED, limit)
    sent = 0
    while size.bytes < CONFIGURED:
        sent += send(size, CONFIGURED, 2 * CONFIGURED)[0]
        assert sent < 1_500


def test_it_grows_soon_after_a_short_trouble() -> None:
    size = RequestSize(CONFIGURED)
    size.accepted(CONFIGURED)
    while size.bytes > FLOOR_BYTES:
        size.rejected(size.bytes)
    requests = 0
    while size.bytes < 300_000:
        size.accepted(min(size.bytes, 300_000))
        requests += 1
    assert requests == 32 + 16 + 8


def test_it_never_falls_below_the_floor() -> None:
    size = RequestSize(CONFIGURED)
    size.rejected(100)
    assert size.bytes == FLOOR_BYTES
    size = RequestSize(20_000)
    size.rejected(100)
    assert size.bytes == 20_000, "what is configured may be less"


def test_small_requests_do_not_make_it_grow() -> None:
    size = RequestSize(CONFIGURED)
    size.rejected(CONFIGURED)
    shrunk = size.bytes
    for _ in range(10_000):
        size.accepted(shrunk // 4 - 1)
    assert size.bytes == shrunk
    size.accepted(shrunk // 4)
    for _ in range(31):
        assert size.bytes == shrunk
        size.accepted(shrunk // 4)
    assert size.bytes == min(2 * shrunk, CONFIGURED)


def test_rejection_ends_a_streak() -> None:
    size = RequestSize(CONFIGURED)
    size.rejected(CONFIGURED // 2)
    for _ in range(31):
        size.accepted(size.bytes)
    size.rejected(size.bytes)
    shrunk = size.bytes
    size.accepted(shrunk)
    assert size.bytes == shrunk


def test_what_had_another_reason_is_forgotten() -> None:
    size = RequestSize(CONFIGURED)
    size.rejected(CONFIGURED)
    size.accepted(1)
    before = size.bytes
    for _ in range(5):
        size.rejected(size.bytes)
    size.restore()
    assert size.bytes == before
    size.restore()
    for _ in range(32):
        assert size.bytes == before
        size.accepted(before)
    assert size.bytes > before, "the streak is what it was"
    after = size.bytes
    size.restore()
    assert size.bytes == after, "what was accepted stays"
