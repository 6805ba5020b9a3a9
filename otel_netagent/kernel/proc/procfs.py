"""Readers and parsers of procfs: the numbers and processes of each network namespace, without eBPF.

A process that exits meanwhile is normal here: readers answer None for it. They raise OSError only where no file can be
opened at all (open_files.is_shortage): what is not seen for that reason has not gone. No file stays
open: a descriptor on `/proc/PID/net/*` or `/proc/PID/ns/net` would keep a dead namespace and its
interfaces alive.

Every reader takes `proc`, the place where procfs is mounted: an agent in a container may see the host's
elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from otel_netagent.open_files import raise_shortage

PROC = Path("/proc")

_READ_SIZE = 65536
_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")

_SNMP6_COUNTER = re.compile(r"([A-Z][A-Za-z]*6)([A-Za-z]\w*)[ \t]+(\d+)", re.ASCII)

_Pick: TypeAlias = Callable[[Sequence[str]], tuple[str, ...]]


class MalformedTable(ValueError):
    """A table is not as the kernel writes it. The message names the file and the line."""

    def __init__(self, file: str, line: int, problem: str) -> None:
        """`line` counts from 1; `problem` is what is wrong there."""
        super().__init__(f"{file}, line {line}: {problem}")


class NetDev(NamedTuple):
    """Counters of one network interface, since it exists: by the names of the table's columns."""

    rx_bytes: int
    rx_packets: int
    rx_errs: int
    rx_drop: int
    tx_bytes: int
    tx_packets: int
    tx_errs: int
    tx_drop: int


def parse_mib_pairs(text: str, file: str = "/proc/net/snmp") -> dict[str, dict[str, int]]:
    """Counters of `/proc/PID/net/snmp` or `netstat`, by protocol and name (`["Tcp"]["ActiveOpens"]`).

    Each protocol is a line of names and a line of values. A protocol may come in several such pairs: the
    kernel writes `IcmpMsg` in groups of 16 types (`icmpmsg_put` in net/ipv4/proc.c). Values may be
    negative (`Tcp: MaxConn` is -1).

    Raises MalformedTable, which calls the table `file`, where values are missing or do not fit their names.
    """
    tables: dict[str, dict[str, int]] = {}
    lines = _lines(text)
    for number in range(0, len(lines), 2):
        protocol, _, names = lines[number].partition(":")
        values_protocol, _, values = lines[number + 1].partition(":") if number + 1 < len(lines) else ("", "", "")
        if values_protocol != protocol:
            raise MalformedTable(file, number + 2, f"the values of {protocol!r} are missing")
        try:
            pairs = dict(zip(names.split(), map(int, values.split()), strict=True))
        except ValueError:
            raise MalformedTable(file, number + 2, f"not one integer for each name of {protocol!r}") from None
        tables.setdefault(protocol, {}).update(pairs)
    return tables


def parse_snmp6(text: str, file: str = "/proc/net/snmp6") -> dict[str, dict[str, int]]:
    """Counters of `/proc/PID/net/snmp6`, by protocol and name (`["Ip6"]["InReceives"]`).

    Raises MalformedTable, which calls the table `file`, where a line is not a counter of a protocol of IPv6.
    """
    tables: dict[str, dict[str, int]] = {}
    for number, line in enumerate(_lines(text), start=1):
        counter = _SNMP6_COUNTER.fullmatch(line)
        if counter is None:
            raise MalformedTable(file, number, f"not a counter of a protocol of IPv6: {line!r}")
        protocol, name, value = counter.groups()
        tables.setdefault(protocol, {})[name] = int(value)
    return tables


def parse_net_dev(text: str, file: str = "/proc/net/dev") -> dict[str, NetDev]:
    """Counters of each interface of `/proc/PID/net/dev` but `lo`: what went in and out of the namespace.

    Raises MalformedTable, which calls the table `file`, where a column is missing or a line does not fit.
    """
    devices: dict[str, NetDev] = {}
    lines = _lines(text)
    pick = _net_dev_columns(lines[1] if len(lines) > 1 else "", file)
    for number, line in enumerate(lines[2:], start=3):
        # An interface may have been named with a colon, and old kernels write no space before the first number.
        padded_name, _, counters = line.rpartition(":")
        name = padded_name.lstrip(" ")
        if name == "lo":
            continue
        try:
            devices[name] = NetDev._make(map(int, pick(counters.split())))
        except (ValueError, IndexError, TypeError):
            raise MalformedTable(file, number, f"not one integer for each column, of interface {name!r}") from None
    return devices


@functools.lru_cache(maxsize=8)
def _net_dev_columns(header: str, file: str) -> _Pick:
    """Picks the counters of NetDev out of a line's columns. Cached: all namespaces share one header."""
    try:
        _, received, sent = (group.split() for group in header.split("|"))
        names = [f"rx_{name}" for name in received] + [f"tx_{name}" for name in sent]
        return operator.itemgetter(*map(names.index, NetDev._fields))
    except ValueError:
        raise MalformedTable(file, 2, f"the columns are not known: {header!r}") from None


def _lines(text: str) -> list[str]:
    """Lines as the kernel ends them; `str.splitlines` would also split at odd characters of interface names."""
    return text.removesuffix("\n").split("\n") if text else []


def read_net(pid: int, table: str, proc: Path = PROC) -> str | None:
    """Text of `/proc/PID/net/TABLE`: of the network namespace that the process is in; None if it is gone."""
    return _read(f"{proc}/{pid}/net/{table}")


def pids(proc: Path = PROC) -> list[int]:
    """Ids of all processes (thread-group leaders), in no order."""
    with os.scandir(proc) as entries:
        return [int(entry.name) for entry in entries if entry.name.isdecimal()]


def netns_of(pid: int, proc: Path = PROC) -> int | None:
    """Inode number of the network namespace that a process or thread is in.

    None if it is gone (a zombie has left its namespaces) or may not be looked at (CAP_SYS_PTRACE). Reads
    the link, which is less than half the cost of `stat` and opens nothing.
    """
    try:
        link = os.readlink(f"{proc}/{pid}/ns/net")  # noqa: PTH115 -- once a process: a Path would double the cost
    except OSError:
        return None
    return int(link[len("net:[") : -len("]")])


def host_netns(proc: Path = PROC) -> int | None:
    """Inode number of the host's network namespace: that of PID 1; the agent's own where PID 1 may not be looked at."""
    return netns_of(1, proc) or netns_of(os.getpid())


def cgroup_of(pid: int, proc: Path = PROC) -> str | None:
    """Text of `/proc/PID/cgroup`: a line `id:controllers:path` for each hierarchy (cgroups(7))."""
    return _read(f"{proc}/{pid}/cgroup")


def open_files(pid: int, proc: Path = PROC) -> list[str] | None:
    """What each open descriptor of a process leads to, as the kernel writes it: `socket:[INODE]`, or a path.

    None if it is gone. A descriptor that is closed meanwhile is left out.
    """
    directory = f"{proc}/{pid}/fd"
    files = []
    try:
        for descriptor in os.listdir(directory):  # noqa: PTH208 -- as in netns_of
            with contextlib.suppress(FileNotFoundError):
                files.append(os.readlink(f"{directory}/{descriptor}"))  # noqa: PTH115 -- as in netns_of
    except OSError as error:
        raise_shortage(error)
        return None
    return files


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
    for number, line in enumerate(_lines(text), start=1):
        name, _, value = line.partition(": ")
        if not value.isdecimal():
            raise MalformedTable(file, number, f"not a name and a number: {line!r}")
        counters[name] = int(value)
    try:
        return Io._make(_pick_io(counters))
    except KeyError as missing:
        raise MalformedTable(file, len(counters), f"no line {missing}") from None


def io_of(pid: int, proc: Path = PROC) -> Io | None:
    """All of a process, with its threads and children that have ended; None if it is gone or may not be looked at."""
    text = _read(f"{proc}/{pid}/io")
    return parse_io(text) if text else None


def threads(pid: int, proc: Path = PROC) -> list[int]:
    """Ids of the threads of a process, its own among them; empty if it is gone."""
    try:
        return [int(name) for name in os.listdir(f"{proc}/{pid}/task")]  # noqa: PTH208 -- as in netns_of
    except OSError as error:
        raise_shortage(error)
        return []


def io_of_thread(pid: int, thread: int, proc: Path = PROC) -> Io | None:
    """What one thread has done itself; None if it is gone."""
    text = _read(f"{proc}/{pid}/task/{thread}/io")
    return parse_io(text) if text else None


def start_ticks(pid: int, proc: Path = PROC) -> int | None:
    """When a process started, in clock ticks since boot: exact, so fit to order processes by.

    Field 22 of `/proc/PID/stat` (proc_pid_stat(5)). Field 2 is the command in parentheses and may itself hold
    spaces and parentheses, so fields are counted from the last one.
    """
    text = _read(f"{proc}/{pid}/stat")
    if not text:
        return None
    return int(text.rpartition(")")[2].split(None, 20)[19])


def unix_ns_of_ticks(ticks: int) -> int:
    """Unix time in ns of a moment in clock ticks since boot, to the tick (10 ms).

    By the offset of the two clocks now: the boot time in `/proc/stat` is in whole seconds.
    """
    return ticks * _NS_PER_TICK + time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def process_start_ns(pid: int, proc: Path = PROC) -> int | None:
    """Unix time in ns at which a process started, to the tick (10 ms); None if it is gone."""
    ticks = start_ticks(pid, proc)
    return None if ticks is None else unix_ns_of_ticks(ticks)


def _read(path: str) -> str | None:
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
