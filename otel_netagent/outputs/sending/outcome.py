"""What became of a request that was sent, and who sends it: what delivery knows of any protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver took the request, except for `rejected` of its items; `message` says why, or is a warning."""

    rejected: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Retryable:
    """Not taken, but may be later: not before `delay_s` seconds, where the receiver says so."""

    reason: str
    delay_s: float | None = None


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Not taken for its size: less at once may be."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Never going to be taken: to send the same again is useless."""

    reason: str


Outcome: TypeAlias = Accepted | Retryable | TooLarge | Refused


class Transport(Protocol):
    """A way to one receiver."""

    @property
    def target(self) -> str:
        """The receiver, as a log line names it."""

    def send(self, body: bytes) -> Outcome:
        """Send an encoded request once and wait for the answer, within the transport's own timeout. Raises nothing."""

    def close(self) -> None:
        """Let the connection go, and with it, where the protocol allows, a `send` under way in another thread."""
