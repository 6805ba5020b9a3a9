"""The two things of the protobuf wire format that joining encoded messages takes.

Source: Protocol Buffers documentation, "Encoding".
"""

from __future__ import annotations

from typing import Final

_VARINT: Final = 0
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
    if length < 0x4000:  # said apart, since nearly all are of this size
        return b"%c%c%c%b" % (tag, length & 0x7F | 0x80, length >> 7, message)
    return b"%c%b%b" % (tag, varint(length), message)


def integer_field(number: int, value: int) -> bytes:
    """A field that holds an integer, for field numbers below 16."""
    return b"%c%b" % (number << 3 | _VARINT, varint(value))
