"""/proc/net/softnet_stat: what the receive path of each CPU has done (net/core/net-procfs.c)."""

from __future__ import annotations

from typing import NamedTuple

from otel_netagent.kernel.proc.files import MalformedTable


class Softnet(NamedTuple):
    """Counters of one CPU since boot, each of 32 bits: it begins again at 0 when it is full.

    The first columns of the table, which has no names, by those of struct softnet_data. `time_squeeze` are the times
    at which net_rx_action ended with work left, for want of budget or time.
    """

    processed: int
    dropped: int
    time_squeeze: int


def parse_softnet(text: str, file: str = "/proc/net/softnet_stat") -> dict[int, Softnet]:
    """Counters of each CPU that is online, by its number.

    Column 13 has the number since Linux 5.7 (7d58e6555870); before, it is the number of the row. The table is
    hexadecimal. Raises MalformedTable, which calls the table `file`, where it is not so.
    """
    cpus: dict[int, Softnet] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            columns = [int(column, 16) for column in line.split()]
            cpus[columns[12] if len(columns) > 12 else number - 1] = Softnet(*columns[:3])
        except (ValueError, TypeError):
            raise MalformedTable(file, number, f"not three hexadecimal numbers or more: {line!r}") from None
    return cpus
