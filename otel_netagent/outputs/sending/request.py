"""What is delivered: requests, each a whole request of a protocol, and who makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeVar

ItemT_contra = TypeVar("ItemT_contra", contravariant=True)


class PodName(NamedTuple):
    """Namespace and name of the pod that something undelivered concerns, as the labels `namespace` and `pod`."""

    namespace: str
    name: str


NO_POD: Final = PodName("", "")
"""For what concerns many pods at once, as a snapshot does, or a pod that is not known any more."""


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
        """Number of data points in the item, or 1 for a log record: what the statistics count."""

    def pod(self, item: ItemT_contra) -> PodName:
        """Whom the item speaks of."""

    def contents(self, request: EncodedRequest) -> Mapping[PodName, int]:
        """How much of the request speaks of whom."""

    def halves(self, request: EncodedRequest) -> tuple[EncodedRequest, EncodedRequest] | None:
        """The same as two requests of about half the size; None if there is nothing to part."""
