"""The format of the spool's files: records one after the other, each with checksums to detect damage.

A record is a header of 20 bytes, integers little-endian, and a request's body:

| bytes | content |
| --- | --- |
| 4 | the state: F5 57 54 47 while it waits; overwritten with F5 53 45 54 once it is settled |
| 4 | length of the body |
| 4 | the request's count |
| 4 | CRC-32 of the body |
| 4 | CRC-32 of the twelve bytes before |

The byte F5 does not occur in UTF-8, so text hardly ever looks like the beginning of a record. After a damaged header
the reader continues at the next whole header.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final
from zlib import crc32

from otel_netagent.outputs.sending.request import EncodedRequest

WAITING: Final = b"\xf5WTG"
SETTLED: Final = b"\xf5SET"

_HEADER: Final = struct.Struct("<4s12sI")
_MEASURES: Final = struct.Struct("<III")
_STATE: Final = re.compile(b"|".join(map(re.escape, (WAITING, SETTLED))))


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record, and where in the file the next one begins."""

    request: EncodedRequest
    settled: bool
    end: int


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes up to `end` that are not a whole record: torn or changed.

    `count` is what is lost: the count of the request if its header is whole, else 1.
    """

    count: int
    end: int


def write_record(request: EncodedRequest) -> bytes:
    """The record of a request that waits."""
    measures = _MEASURES.pack(len(request.body), request.count, crc32(request.body))
    return _HEADER.pack(WAITING, measures, crc32(measures)) + request.body


def record_size(request: EncodedRequest) -> int:
    """Size in bytes of the record of a request."""
    return _HEADER.size + len(request.body)


def read_record(file: BinaryIO, offset: int) -> Record | Damage | None:
    """The record or the damage at this offset; None at the end of the file. Raises OSError."""
    file.seek(offset)
    data = file.read(_HEADER.size)
    if not data:
        return None
    header = _header(data)
    if header is None:
        return Damage(1, _next_header(file, offset + 1))
    settled, length, count, checksum = header
    body = file.read(length)
    end = offset + _HEADER.size + len(body)
    if len(body) == length and crc32(body) == checksum:
        return Record(EncodedRequest(body, count), settled, end)
    return Damage(0 if settled else count, end)


def _header(data: bytes) -> tuple[bool, int, int, int] | None:
    """(settled, length, count, checksum of the body), if the header is whole."""
    if len(data) < _HEADER.size:
        return None
    state, measures, checksum = _HEADER.unpack(data)
    if state not in {WAITING, SETTLED} or crc32(measures) != checksum:
        return None
    return state == SETTLED, *_MEASURES.unpack(measures)


def _next_header(file: BinaryIO, offset: int) -> int:
    """Where the next whole header is, else where the file ends."""
    file.seek(offset)
    rest = file.read()
    for match in _STATE.finditer(rest):
        if _header(rest[match.start() : match.start() + _HEADER.size]):
            return offset + match.start()
    return offset + len(rest)
