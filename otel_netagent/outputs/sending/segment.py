"""One file of the spool: appended to while it is the last, read when it is the first."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from otel_netagent.open_files import raise_shortage
from otel_netagent.outputs.sending.records import SETTLED, Damage, Record, read_record, write_record
from otel_netagent.outputs.sending.request import EncodedRequest

logger = logging.getLogger(__name__)


class Segment:
    """Records of requests in a file. Not thread-safe."""

    def __init__(self, path: Path, damaged: Callable[[int], None]) -> None:
        """The file at this path, which need not exist. Raises OSError.

        `damaged` is called with the count of what cannot be read.
        """
        self._path = path
        self._damaged = damaged
        self._file: BinaryIO | None = None
        self._head: EncodedRequest | None = None
        self._position = 0  # where the head begins, or is searched for
        self._end = 0  # where the head ends
        self._damage_logged = False
        self.size = path.stat().st_size if path.exists() else 0

    def head(self) -> EncodedRequest | None:
        """The oldest request that waits, the same object until it is passed; None if nothing waits.

        Raises OSError if no file can be opened now (open_files.is_shortage).
        """
        while self._head is None and self._position < self.size:
            match self._read():
                case Record(request=request, settled=False, end=end):
                    self._head, self._end = request, end
                case Record(end=end):
                    self._position = end
                case Damage(count=count, end=end):
                    self._lose(count)
                    self._position = end
                case None:
                    self._position = self.size
        return self._head

    def settle(self) -> None:
        """Mark the head in the file, and pass it."""
        with contextlib.suppress(OSError):  # without the mark it is sent again after a restart
            os.pwrite(self._open().fileno(), SETTLED, self._position)
        self.pass_head()

    def pass_head(self) -> None:
        """Skip the head."""
        self._head = None
        self._position = self._end

    def append(self, request: EncodedRequest) -> None:
        """Add a request. Raises OSError, with nothing added."""
        record = write_record(request)
        file = self._open()
        try:
            end = self.size
            while end < self.size + len(record):  # a full disk accepts a part before it reports an error
                end += os.pwrite(file.fileno(), record[end - self.size :], end)
        except OSError:
            os.ftruncate(file.fileno(), self.size)
            raise
        if self._head is None and self._position == self.size:
            self._head, self._end = request, end
        self.size = end

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def delete(self) -> None:
        """Remove the file."""
        self.close()
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("cannot delete %s (%s): its requests are sent again after a restart", self._path, error)

    def _read(self) -> Record | Damage | None:
        try:
            return read_record(self._open(), self._position)
        except OSError as error:
            raise_shortage(error)
            logger.warning("cannot read %s: %s; its requests are dropped and counted", self._path, error)
            return Damage(1, self.size)

    def _lose(self, count: int) -> None:
        if not self._damage_logged:
            logger.warning(
                "%s is damaged at byte %d: such requests are dropped and counted", self._path, self._position
            )
        self._damage_logged = True
        self._damaged(count)

    def _open(self) -> BinaryIO:
        if self._file is None:
            # Unbuffered: reads see what `append` and `settle` write elsewhere in the file.
            self._file = self._path.open("r+b" if self._path.exists() else "x+b", buffering=0)
        return self._file
