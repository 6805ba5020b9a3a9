"""/proc/PID/net/sockstat and sockstat6: sockets by protocol (net/ipv4/proc.c)."""

from __future__ import annotations

from otel_netagent.kernel.proc.files import MalformedTable


def parse_sockstat(text: str, file: str = "/proc/net/sockstat") -> dict[str, dict[str, int]]:
    """Numbers of each protocol, by name (`["TCP"]["inuse"]`).

    Raises MalformedTable, which calls the table `file`, where a line is not a name and pairs of name and number.
    """
    protocols: dict[str, dict[str, int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        protocol, colon, rest = line.partition(":")
        words = rest.split()
        try:
            protocols[protocol] = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        except ValueError:
            colon = ""
        if not colon:
            raise MalformedTable(file, number, f"not a protocol with a number for each name: {line!r}")
    return protocols
