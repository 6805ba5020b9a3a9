"""The spool: requests on disk, in order, while the receiver is unavailable or the agent is stopped."""

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
"""Segments of a full spool: only a small part of it is dropped to make room."""


@dataclass(frozen=True, slots=True)
class SpoolPlace:
    """The directory of a spool, which nothing else uses, and the spool's maximum size."""

    directory: Path
    limit_bytes: int


class Spool:
    """A queue of requests in the files ("segments") of a directory. Not thread-safe.

    Every request is written at once, so it survives any end of the agent. There is no fsync: the kernel writes to disk
    within half a minute by default (vm.dirty_expire_centisecs), and a power failure may lose that much. A settled
    request is marked in place; a segment is deleted once all its requests are settled.
    """

    def __init__(self, place: SpoolPlace, damaged: Callable[[int], None]) -> None:
        """Continue with the existing files; `damaged` is called with the count of what cannot be read.

        Raises OSError, and BlockingIOError if another agent uses the directory.
        """
        self._place = place
        self._damaged = damaged
        self._segment_bytes = min(_MOST_SEGMENT_BYTES, place.limit_bytes // _LEAST_SEGMENTS)
        # The last segment, unless an earlier process wrote it: the end of such a file may be torn.
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
        """Its directory."""
        return str(self._place.directory)

    @property
    def bytes(self) -> int:
        """Size of all segments; 0 if nothing waits, once `head` has found that out."""
        return sum(segment.size for segment in self._segments)

    def head(self) -> EncodedRequest | None:
        """The oldest request, the same object until it is settled or had to make room; None if nothing waits.

        Raises OSError if no file can be opened now.
        """
        while self._segments:
            if request := self._segments[0].head():
                return request
            self._segments.popleft().delete()
        return None

    def settle(self) -> None:
        """Mark the head as settled and remove it."""
        self._segments[0].settle()
        with contextlib.suppress(OSError):  # the next segment is opened later
            self.head()

    def make_room(self, request: EncodedRequest) -> Iterator[EncodedRequest]:
        """Delete the oldest segments until this request fits; yields the requests that waited in them, oldest first.

        Raises OSError if no file can be opened now; requests that were not yielded yet stay.
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
        """Close the files; the requests stay for the next start."""
        for segment in self._segments:
            segment.close()
        os.close(self._lock)


def open_spool(place: SpoolPlace, damaged: Callable[[int], None]) -> Spool | None:
    """The spool of this place; None, with a log line, if it cannot be used."""
    try:
        return Spool(place, damaged)
    except BlockingIOError:
        reason = "another agent uses it"
    except OSError as error:
        reason = error.strerror or str(error)
    logger.warning("cannot use the spool in %s (%s): keeping requests in memory", place.directory, reason)
    return None
