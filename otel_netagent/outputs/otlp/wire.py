"""The parts of the protobuf wire format that are needed to join encoded messages.

Source: Protocol Buffers documentation, "Encoding".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

Parts: TypeAlias = Sequence[bytes]
"""An encoding in parts, joined only at the end: an inner message is copied once, not once for each level."""

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH_DELIMITED: Final = 2


def varint(value: int) -> bytes:
    """An integer of up to 64 bits, seven at a time, the lowest first; a negative one in two's complement."""
    if 0 <= value < 0x80:
        return b"%c" % value
    value &= 0xFFFF_FFFF_FFFF_FFFF
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def message_field(number: int, message: bytes) -> bytes:
    """A field that holds an encoded message, for field numbers below 16."""
    tag, length = number << 3 | _LENGTH_DELIMITED, len(message)
    if length < 0x80:
        return b"%c%c%b" % (tag, length, message)
    if length < 0x4000:  # a separate case, since nearly all are of this size
        return b"%c%c%c%b" % (tag, length & 0x7F | 0x80, length >> 7, message)
    return b"%c%b%b" % (tag, varint(length), message)


def integer_field(number: int, value: int) -> bytes:
    """A field that holds an integer, for field numbers below 16."""
    return b"%c%b" % (number << 3 | _VARINT, varint(value))


def fixed_tag(number: int) -> bytes:
    """What comes before the eight bytes, lowest first, of a `fixed64`, `sfixed64` or `double`; numbers below 16."""
    return b"%c" % (number << 3 | _FIXED64)


def message_beginning(number: int, beginning: bytes, rest: int) -> bytes:
    """As `message_field`, for a message whose last `rest` bytes are yet to come."""
    return b"%c%b%b" % (number << 3 | _LENGTH_DELIMITED, varint(len(beginning) + rest), beginning)


def framed(number: int, parts: Parts) -> Parts:
    """As `message_field`, of a message in parts."""
    return message_beginning(number, b"", sum(map(len, parts))), *parts
