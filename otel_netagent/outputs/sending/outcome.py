"""The outcome of sending a request, and the transport that sends it: all that delivery knows of a protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver accepted the request, except for `rejected` items; `message` says why, or is a warning."""

    rejected: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Retryable:
    """Not accepted now, perhaps later: not before `delay_s` seconds, if the receiver says so."""

    reason: str
    delay_s: float | None = None


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Rejected for its size: a smaller request may be accepted."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Rejected for good: sending it again is useless."""

    reason: str


Outcome: TypeAlias = Accepted | Retryable | TooLarge | Refused


class Transport(Protocol):
    """Sends to one receiver."""

    @property
    def target(self) -> str:
        """The receiver, as log lines name it."""

    def send(self, body: bytes) -> Outcome:
        """Send an encoded request once and wait for the answer, within the transport's own timeout. Raises nothing."""

    def close(self) -> None:
        """Close the connection and, where the protocol allows, cancel a `send` in another thread."""
