"""`/proc/PID/net/dev`: the counters of each network interface."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from otel_netagent.kernel.proc.files import MalformedTable, lines_of

_Pick: TypeAlias = Callable[[Sequence[str]], tuple[str, ...]]


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


def parse_net_dev(text: str, file: str = "/proc/net/dev") -> dict[str, NetDev]:
    """Counters of each interface of `/proc/PID/net/dev` but `lo`: what went in and out of the namespace.

    Raises MalformedTable, which calls the table `file`, where a column is missing or a line does not fit.
    """
    devices: dict[str, NetDev] = {}
    lines = lines_of(text)
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
