"""Reading files of procfs, and what is wrong with a table.

No file stays open: a descriptor on `/proc/PID/net/*` or `/proc/PID/ns/net` would keep a dead namespace and its
interfaces alive. A process that exits meanwhile is normal here: readers answer None for it and never raise.

Every reader takes `proc`, where procfs is mounted: an agent in a container may see the host's elsewhere.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from otel_netagent.open_files import raise_shortage

PROC = Path("/proc")


_READ_SIZE = 65536


class MalformedTable(ValueError):
    """A table is not as the kernel writes it. The message names the file and the line."""

    def __init__(self, file: str, line: int, problem: str) -> None:
        """`line` counts from 1; `problem` is what is wrong there."""
        super().__init__(f"{file}, line {line}: {problem}")


def lines_of(text: str) -> list[str]:
    """Lines as the kernel ends them; `str.splitlines` would also split at odd characters of interface names."""
    return text.removesuffix("\n").split("\n") if text else []


def read_net(pid: int, table: str, proc: Path = PROC) -> str | None:
    """Text of `/proc/PID/net/TABLE`: of the network namespace that the process is in; None if it is gone."""
    return read_file(f"{proc}/{pid}/net/{table}")


def read_file(path: str) -> str | None:
    """All of a file of procfs, in half the time of `open().read()`.

    The kernel hands out a long table in pieces, so it is read to the end.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise_shortage(error)
        return None
    try:
        pieces = list(iter(functools.partial(os.read, file, _READ_SIZE), b""))
    except OSError:  # ESRCH: it exited between the two calls
        return None
    finally:
        os.close(file)
    return b"".join(pieces).decode(errors="replace")
