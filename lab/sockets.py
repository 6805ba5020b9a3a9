"""Sockets of a host in their usual roles, closed at the end of the `with` block."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
from collections.abc import Iterator

from lab.links import Host
from lab.truth import Endpoint, Family


@contextlib.contextmanager
def stream(host: Host, family: Family) -> Iterator[socket.socket]:
    """A TCP socket bound to a free port of the host; it waits for nothing longer than some seconds."""
    with _bound(host, family, socket.SOCK_STREAM) as made:
        yield made


@contextlib.contextmanager
def datagram(host: Host, family: Family) -> Iterator[socket.socket]:
    """A UDP socket bound to a free port of the host; it does not block."""
    with _bound(host, family, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        yield made


@contextlib.contextmanager
def listening(host: Host, family: Family, backlog: int = 8) -> Iterator[socket.socket]:
    """A TCP socket listening at a free port of the host; its accept queue holds `backlog` + 1 connections."""
    with stream(host, family) as listener:
        listener.listen(backlog)
        yield listener


def port_of(bound: socket.socket) -> int:
    """The local port."""
    port: int = bound.getsockname()[1]
    return port


def end_of(host: Host, family: Family, bound: socket.socket) -> Endpoint:
    """The local end as packets bear it."""
    return host.endpoint(family, port_of(bound))


def read_all(reader: socket.socket) -> int:
    """Read to the end of the stream, or as far as it does not block; how many bytes."""
    received = 0
    with contextlib.suppress(BlockingIOError):
        while data := reader.recv(1 << 20):
            received += len(data)
    return received


def close_with_reset(connected: socket.socket) -> None:
    """Close with SO_LINGER 0: the connection is reset instead of finished (socket(7))."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connected.close()


@contextlib.contextmanager
def handed_to_process(connected: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """A process that alone holds the socket and does nothing; the block may kill it."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[connected.fileno()]) as holder:
        connected.close()
        yield holder


@contextlib.contextmanager
def _bound(host: Host, family: Family, kind: socket.SocketKind) -> Iterator[socket.socket]:
    with host.namespace.socket(family.sockets, kind) as made:
        made.settimeout(5)
        made.bind((family.socket_address(host.address(family)), 0))
        yield made
