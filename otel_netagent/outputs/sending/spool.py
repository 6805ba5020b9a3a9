"""The spool: requests on disk, in order, while their receiver is away or the agent is."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_netagent.outputs.sending.records import record_size
from otel_netagent.outputs.sending.request import EncodedRequest
from otel_netagent.outputs.sending.segment import Segment

logger = logging.getLogger(__name__)

_MOST_SEGMENT_BYTES: Final = 4 << 20
_LEAST_SEGMENTS: Final = 8
"""Of a full spool, so that what makes room for the newest is a small part of it."""


@dataclass(frozen=True, slots=True)
class SpoolPlace:
    """Where a spool is, a directory of its own, and how large it may grow."""

    directory: Path
    limit_bytes: int


class Spool:
    """A queue of requests in the files ("segments") of a directory; not for several threads at once.

    Every request is handed to the kernel at once, so that it outlives the agent however that ends. Nothing
    is flushed to the disk beyond what the kernel does by itself, within half a minute by default
    (vm.dirty_expire_centisecs): that much a node may lose with its power. A request that is done is marked in
    place, and a segment is deleted once all of it is.
    """

    def __init__(self, place: SpoolPlace, damaged: Callable[[int], None]) -> None:
        """Go on with what is there; `damaged` is told how much could not be read.

        Raises OSError: BlockingIOError if another agent uses the directory.
        """
        self._place = place
        self._damaged = damaged
        self._segment_bytes = min(_MOST_SEGMENT_BYTES, place.limit_bytes // _LEAST_SEGMENTS)
        # The last segment, unless an earlier process wrote it: its end may be torn.
        self._writing: Segment | None = None
        place.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(place.directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = sorted(place.directory.glob(f"{'[0-9]' * 12}.spool"))
            self._segments = deque(Segment(path, damaged) for path in found)
        except OSError:
            os.close(self._lock)
            raise
        self._last_number = int(found[-1].stem) if found else 0

    def __str__(self) -> str:
        """Where it is."""
        return str(self._place.directory)

    @property
    def bytes(self) -> int:
        """Size of all segments; 0 if nothing waits, as soon as `head` has seen that."""
        return sum(segment.size for segment in self._segments)

    def head(self) -> EncodedRequest | None:
        """The oldest request, the same object until it is settled or had to make room; None if nothing waits.

        Raises OSError where no file can be opened for now.
        """
        while self._segments:
            if request := self._segments[0].head():
                return request
            self._segments.popleft().delete()
        return None

    def settle(self) -> None:
        """Be done with the head."""
        self._segments[0].settle()
        with contextlib.suppress(OSError):  # what comes next is opened later
            self.head()

    def make_room(self, request: EncodedRequest) -> Iterator[EncodedRequest]:
        """Delete as many of the oldest segments as must be for this request; what waited in them, the oldest first.

        Raises OSError where no file can be opened for now; what was not given yet stays.
        """
        while self._segments and self.bytes + record_size(request) > self._place.limit_bytes:
            oldest = self._segments[0]
            while head := oldest.head():
                oldest.pass_head()
                yield head
            self._segments.popleft().delete()

    def append(self, request: EncodedRequest) -> None:
        """Add the newest request. Raises OSError, with nothing added."""
        last = self._segments[-1] if self._segments else None
        if last is None or last is not self._writing or last.size >= self._segment_bytes:
            self._last_number += 1
            last = Segment(self._place.directory / f"{self._last_number:012}.spool", self._damaged)
            try:
                last.append(request)
            except OSError:
                last.delete()
                raise
            self._segments.append(last)
            self._writing = last
        else:
            last.append(request)

    def close(self) -> None:
        """Leave what waits to the next start."""
        for segment in self._segments:
            segment.close()
        os.close(self._lock)


def open_spool(place: SpoolPlace, damaged: Callable[[int], None]) -> Spool | None:
    """The spool of this place; None, with a line in the log, if there can be none."""
    try:
        return Spool(place, damaged)
    except BlockingIOError:
        reason = "another agent uses it"
    except OSError as error:
        reason = error.strerror or str(error)
    logger.warning("cannot use the spool in %s (%s): keeping requests in memory", place.directory, reason)
    return None
