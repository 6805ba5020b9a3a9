"""What is delivered: encoded requests, and the encoder that makes them."""

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
    """A request in its protocol's encoding, uncompressed; `count` is its number of log records or data points."""

    body: bytes
    count: int


class Encoder(Protocol[ItemT_contra]):
    """Encodes items of a signal as requests of a protocol, and can read such requests again, also from a spool."""

    def encode(self, items: Sequence[ItemT_contra]) -> Sequence[EncodedRequest]:
        """Encode these items in their order, as one request or several."""

    def count(self, item: ItemT_contra) -> int:
        """Number of data points in the item, or 1 for a log record: what the statistics count."""

    def pod(self, item: ItemT_contra) -> PodName:
        """The pod that the item concerns."""

    def contents(self, request: EncodedRequest) -> Mapping[PodName, int]:
        """Number of data points or log records of each pod in the request."""

    def halves(self, request: EncodedRequest) -> tuple[EncodedRequest, EncodedRequest] | None:
        """The same content as two requests of about half the size; None if it cannot be split."""
