"""What programs learn from files that this process has open: where the kernel keeps what has no name outside of it.

See bpf/include/own_file.h. Each function opens its file in the calling thread, has the kernel look, and closes it.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Final

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.proc.files import PROC

_CONNTRACK_COUNT: Final = PROC / "sys/net/netfilter/nf_conntrack_count"


def learn_sockets(walk: BpfObject) -> bool:
    """Have `walk` know how this kernel counts TCP sockets, of IPv6 where it has it. False on failure."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            any_socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        except OSError as error:
            if error.errno == errno.EAFNOSUPPORT:  # no IPv6 here
                continue
            return False
        with any_socket:
            if not _look(walk, "learn_protocol", any_socket.fileno()):
                return False
    return True


def learn_conntrack(walk: BpfObject, count: Path = _CONNTRACK_COUNT) -> bool:
    """Have `walk` know where connection tracking counts entries. False where there is none, or on failure."""
    try:
        file = os.open(count, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _look(walk, "learn_conntrack", file)
    finally:
        os.close(file)


def _look(walk: BpfObject, program: str, file: int) -> bool:
    walk.variable("descriptor")[0] = file
    return walk.run(program) == 0
