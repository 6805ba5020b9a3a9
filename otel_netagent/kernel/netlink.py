"""Just enough of netlink(7) to ask the kernel for a list of objects and to read what it answers."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence number, port
_CODE: Final = struct.Struct("=i")
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type
_REQUEST, _DUMP_INTERRUPTED, _DUMP = 0x1, 0x10, 0x300
_ERROR, _DONE = 2, 3
_TYPE_MASK: Final = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_ROUTE: Final = 0
_RECEIVE_SIZE: Final = 1 << 16


class MalformedMessage(OSError):
    """A message is not as the kernel writes it. The text says what is wrong."""


def dump_route(kind: int, body: bytes) -> list[memoryview]:
    """Ask rtnetlink(7) for all objects by a request of type `kind`; the answer's messages, without their headers.

    The request goes to the namespace that the calling thread is in. Raises OSError where the kernel refuses,
    InterruptedError where the objects changed while it was answering.
    """
    messages: list[memoryview] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE) as netlink:
        netlink.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _DUMP, 1, 0) + body)
        while True:
            for answer, flags, payload in split(netlink.recv(_RECEIVE_SIZE)):
                if answer == _ERROR:
                    code = -_CODE.unpack_from(payload)[0]
                    raise OSError(code, f"netlink: {os.strerror(code)}")
                if flags & _DUMP_INTERRUPTED:
                    raise OSError(errno.EINTR, "netlink: the objects changed while they were listed")
                if answer == _DONE:
                    return messages
                messages.append(payload)


def split(datagram: bytes) -> Iterator[tuple[int, int, memoryview]]:
    """Type, flags and payload of each message of a datagram. Raises MalformedMessage."""
    view, position = memoryview(datagram), 0
    while position < len(view):
        if len(view) - position < _HEADER.size:
            raise MalformedMessage(f"netlink: {len(view) - position} bytes are no message")
        length, kind, flags, _, _ = _HEADER.unpack_from(view, position)
        if not _HEADER.size <= length <= len(view) - position:
            raise MalformedMessage(f"netlink: a message of {length} bytes in {len(view) - position}")
        yield kind, flags, view[position + _HEADER.size : position + length]
        position += _aligned(length)


def attributes(data: memoryview) -> dict[int, memoryview]:
    """Attributes by type; of a type that comes twice, the last. Raises MalformedMessage."""
    found: dict[int, memoryview] = {}
    position = 0
    while len(data) - position >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data, position)
        if not _ATTRIBUTE.size <= length <= len(data) - position:
            raise MalformedMessage(f"netlink: an attribute of {length} bytes in {len(data) - position}")
        found[kind & _TYPE_MASK] = data[position + _ATTRIBUTE.size : position + length]
        position += _aligned(length)
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3
