"""/proc/PID/net/stat/nf_conntrack: connection tracking of a namespace (net/netfilter/nf_conntrack_standalone.c)."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from otel_netagent.kernel.proc.files import PROC, MalformedTable


class Conntrack(NamedTuple):
    """Connections tracked now, and what all CPUs together counted since the namespace exists.

    The counters have 32 bits on each CPU. `found`, `insert` and `ignore` are no longer what they were: newer kernels
    count as found only clashes when an address is translated (since 4.3), and insert and ignore hardly or not at all.
    """

    entries: int
    found: int
    insert: int
    invalid: int
    ignore: int
    insert_failed: int
    drop: int
    early_drop: int
    search_restart: int
    icmp_error: int


_Pick: TypeAlias = Callable[[Sequence[str]], tuple[str, ...]]


def parse_conntrack(text: str, file: str = "/proc/net/stat/nf_conntrack") -> Conntrack:
    """Sum over the CPUs, but for `entries`, of which each row has the whole of the namespace.

    Columns are found by their names: kernels differ in the others. The numbers are hexadecimal. Raises
    MalformedTable, which calls the table `file`, where a column is missing or a row does not fit.
    """
    header, *lines = text.splitlines() or [""]
    pick = _columns(header, file)
    rows: list[tuple[int, ...]] = []
    for number, line in enumerate(lines, start=2):
        if rows and not line[8:].strip(" 0"):  # the row of an idle CPU, after its number of entries
            continue
        try:
            rows.append(tuple(int(column, 16) for column in pick(line.split())))
        except (ValueError, IndexError):
            raise MalformedTable(file, number, "not a hexadecimal number for each column") from None
    if not rows:
        raise MalformedTable(file, 2, "no row of a CPU")
    return Conntrack(rows[0][0], *map(sum, list(zip(*rows, strict=True))[1:]))


@functools.lru_cache(maxsize=8)
def _columns(header: str, file: str) -> _Pick:
    """Picks the fields of Conntrack out of a row. Cached: all namespaces share one header."""
    names = header.split()
    try:
        return operator.itemgetter(*(names.index(name) for name in Conntrack._fields))
    except ValueError:
        raise MalformedTable(file, 1, f"the columns are not known: {header!r}") from None


def entries_limit(proc: Path = PROC) -> int:
    """The sysctl net.netfilter.nf_conntrack_max.

    One number for the whole kernel, against which each namespace's own entries are held (__nf_conntrack_alloc): other
    namespaces show it, and cannot write it. Raises OSError where there is no connection tracking.
    """
    return int((proc / "sys/net/netfilter/nf_conntrack_max").read_text(encoding="ascii"))
