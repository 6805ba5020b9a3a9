"""`/proc/PID/io`: what a process has read and written."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import NamedTuple

from otel_netagent.kernel.proc.files import PROC, MalformedTable, lines_of, read_file


class Io(NamedTuple):
    """Input and output so far, by the kernel's names: calls like read() and write(), bytes from and to storage."""

    syscr: int
    syscw: int
    read_bytes: int
    write_bytes: int


_pick_io = operator.itemgetter(*Io._fields)


def parse_io(text: str, file: str = "/proc/PID/io") -> Io:
    """The counters of `/proc/PID/io` that are Io's (proc_pid_io(5)). Raises MalformedTable, which calls it `file`."""
    counters: dict[str, int] = {}
    for number, line in enumerate(lines_of(text), start=1):
        name, _, value = line.partition(": ")
        if not value.isdecimal():
            raise MalformedTable(file, number, f"not a name and a number: {line!r}")
        counters[name] = int(value)
    try:
        return Io._make(_pick_io(counters))
    except KeyError as missing:
        raise MalformedTable(file, len(counters), f"no line {missing}") from None


def io_of(pid: int, proc: Path = PROC) -> Io | None:
    """All of a process, with its threads and children that have ended. Raises MalformedTable.

    None if it is gone or may not be looked at (CAP_SYS_PTRACE).
    """
    text = read_file(f"{proc}/{pid}/io")
    return parse_io(text) if text else None


def io_of_thread(pid: int, thread: int, proc: Path = PROC) -> Io | None:
    """What one thread has done itself; None if it is gone. Raises MalformedTable."""
    text = read_file(f"{proc}/{pid}/task/{thread}/io")
    return parse_io(text) if text else None
