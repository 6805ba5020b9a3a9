"""What is delivered: requests, each a whole request of a protocol, and who makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeVar

ItemT_contra = TypeVar("ItemT_contra", contravariant=True)


class Pod(NamedTuple):
    """Whom something undelivered spoke of, by the labels `namespace` and `pod`."""

    namespace: str
    name: str


NO_POD: Final = Pod("", "")
"""What speaks of many pods at once, as a snapshot does, or of one that cannot be told any more."""


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """A request in its protocol's encoding, uncompressed, and how much is in it: log records, or data points."""

    body: bytes
    count: int


class Encoder(Protocol[ItemT_contra]):
    """Turns items of a signal into requests of a protocol, and can read those again that a spool kept."""

    def encode(self, items: Sequence[ItemT_contra]) -> Sequence[EncodedRequest]:
        """These items in their order, as one request or several."""

    def count(self, item: ItemT_contra) -> int:
        """How much the item counts in a tally: its data points, or 1 for a log record."""

    def pod(self, item: ItemT_contra) -> Pod:
        """Whom the item speaks of."""

    def contents(self, request: EncodedRequest) -> Mapping[Pod, int]:
        """How much of the request speaks of whom."""

    def halves(self, request: EncodedRequest) -> tuple[EncodedRequest, EncodedRequest] | None:
        """The same as two requests of about half the size; None if there is nothing to part."""
