"""The table of TCP sockets in procfs: `/proc/PID/net/tcp` and `tcp6`, of the namespace that the process is in.

A kernel without eBPF still has it, but it is expensive: to write it the kernel walks its table of all namespaces'
sockets, 10 ms for each file even where the namespace has none.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import NamedTuple

from otel_netagent.kernel.proc.files import MalformedTable


class State(enum.IntEnum):
    """States that are distinguished, by the numbers of include/net/tcp_states.h."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    TIME_WAIT = 6
    CLOSE_WAIT = 8
    LISTEN = 10


class TcpSocket(NamedTuple):
    """One line: the number of its state, its local port, and bytes that are not acknowledged or not read.

    Of a listening socket, `unread` is the number of connections that wait to be accepted.
    """

    state: int
    port: int
    unsent: int
    unread: int


def parse_tcp_table(text: str, file: str = "/proc/net/tcp") -> Iterator[TcpSocket]:
    """Every socket of the table (proc_pid_net(5), "tcp").

    Raises MalformedTable, which calls the table `file`, where a line is not one of a socket.
    """
    for number, line in enumerate(text.splitlines()[1:], start=2):
        try:
            _, local, _, state, queues, *_ = line.split()
            unsent, unread = queues.split(":")
            port = local.rpartition(":")[2]
            yield TcpSocket(int(state, 16), int(port, 16), int(unsent, 16), int(unread, 16))
        except ValueError:
            raise MalformedTable(file, number, f"not a socket: {line!r}") from None
