"""The MIBs of a network namespace: `/proc/PID/net/snmp`, `netstat` and `snmp6`."""

from __future__ import annotations

import re

from otel_netagent.kernel.proc.files import MalformedTable, lines_of

_SNMP6_COUNTER = re.compile(r"([A-Z][A-Za-z]*6)([A-Za-z]\w*)[ \t]+(\d+)", re.ASCII)


def parse_mib_pairs(text: str, file: str = "/proc/net/snmp") -> dict[str, dict[str, int]]:
    """Counters of `/proc/PID/net/snmp` or `netstat`, by protocol and name (`["Tcp"]["ActiveOpens"]`).

    Each protocol is a line of names and a line of values. A protocol may come in several such pairs: the
    kernel writes `IcmpMsg` in groups of 16 types (`icmpmsg_put` in net/ipv4/proc.c). Values may be
    negative (`Tcp: MaxConn` is -1).

    Raises MalformedTable, which calls the table `file`, where values are missing or do not fit their names.
    """
    tables: dict[str, dict[str, int]] = {}
    lines = lines_of(text)
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
    for number, line in enumerate(lines_of(text), start=1):
        counter = _SNMP6_COUNTER.fullmatch(line)
        if counter is None:
            raise MalformedTable(file, number, f"not a counter of a protocol of IPv6: {line!r}")
        protocol, name, value = counter.groups()
        tables.setdefault(protocol, {})[name] = int(value)
    return tables
