"""Deliveries of plain numbers: encoded so that one sees what became of each, and taken in several ways."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Mapping, Sequence

from otel_netagent.outputs.sending import EncodedRequest, PodName
from otel_netagent.outputs.sending.outcome import Accepted, Outcome, Refused, Retryable, TooLarge


def numbers_in(body: bytes) -> list[int]:
    numbers = json.loads(body)
    assert isinstance(numbers, list)
    return numbers


def make_request(*numbers: int) -> EncodedRequest:
    return EncodedRequest(json.dumps(numbers).encode(), len(numbers))


def pod_of(number: int) -> PodName:
    return PodName("shop", f"web-{number % 3}")


class Numbers:
    """An encoder of numbers, each of which belongs to one of three pods."""

    def encode(self, items: Sequence[int]) -> list[EncodedRequest]:
        """One request, in JSON."""
        return [make_request(*items)]

    def count(self, item: int) -> int:  # noqa: ARG002 - each counts one
        """One."""
        return 1

    def pod(self, item: int) -> PodName:
        """Whom it belongs to."""
        return pod_of(item)

    def contents(self, request: EncodedRequest) -> Mapping[PodName, int]:
        """How many belong to whom."""
        return Counter(map(pod_of, numbers_in(request.body)))

    def halves(self, request: EncodedRequest) -> tuple[EncodedRequest, EncodedRequest] | None:
        """The numbers as two requests."""
        numbers = numbers_in(request.body)
        middle = len(numbers) // 2
        return (make_request(*numbers[:middle]), make_request(*numbers[middle:])) if middle else None


class Steady:
    """A transport that takes everything."""

    target = "nowhere"

    def __init__(self) -> None:
        """Nothing taken yet."""
        self.accepted: list[int] = []

    def send(self, body: bytes) -> Outcome:
        """Take it."""
        self.accepted += numbers_in(body)
        return Accepted()

    def close(self) -> None:
        """Nothing to close."""


class Moody(Steady):
    """A transport that takes everything once `present` is set."""

    def __init__(self) -> None:
        """Be away."""
        super().__init__()
        self.present = threading.Event()

    def send(self, body: bytes) -> Outcome:
        """Take it, or not now."""
        return super().send(body) if self.present.is_set() else Retryable("away")


class Whims(Steady):
    """A transport whose outcomes are drawn at random; it takes eight numbers at most."""

    def __init__(self, seed: int) -> None:
        """Draw the outcomes that belong to this seed."""
        super().__init__()
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self.rejected = 0
        self.refused: Counter[PodName] = Counter()

    def send(self, body: bytes) -> Outcome:
        """Whatever comes to mind."""
        numbers = numbers_in(body)
        if len(numbers) > 8:
            return TooLarge("too many")
        outcomes: list[Outcome] = [Accepted(), Accepted(rejected=1), Retryable("busy"), Refused("never")]
        outcome = self._random.choice(outcomes)
        if isinstance(outcome, Accepted):
            super().send(body)
            self.rejected += outcome.rejected
        elif isinstance(outcome, Refused):
            self.refused.update(map(pod_of, numbers))
        return outcome
