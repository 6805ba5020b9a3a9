"""/proc/PID/net/ip_vs_stats: what IPVS has forwarded in a namespace (net/netfilter/ipvs/ip_vs_ctl.c)."""

from __future__ import annotations

from typing import NamedTuple

from otel_netagent.kernel.proc.files import MalformedTable


class IpvsStats(NamedTuple):
    """Totals since the namespace exists, or since they were set to zero (`ipvsadm --zero`).

    The columns of the table, in its order, by the names of struct ip_vs_kstats: what it calls them has two lines.
    """

    conns: int
    inpkts: int
    outpkts: int
    inbytes: int
    outbytes: int


def parse_ipvs_stats(text: str, file: str = "/proc/net/ip_vs_stats") -> IpvsStats:
    """The totals, which are the third line, in hexadecimal; the lines behind it are rates.

    Raises MalformedTable, which calls the table `file`, where it is not so.
    """
    lines = text.splitlines()
    try:
        return IpvsStats(*(int(column, 16) for column in lines[2].split()))
    except (ValueError, TypeError, IndexError):
        raise MalformedTable(file, 3, "not five hexadecimal numbers") from None
