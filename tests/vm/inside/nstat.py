"""nstat(8), the witness of counters: what it shows of a namespace, held against what the probes do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from lab.namespace import Namespace
from otel_netagent.probes import catalogue
from tests.faults.observer import Observer

_SHOWN: Final = {
    series.name: "".join(series.source.split()[1:])
    for probe in catalogue().values()
    for series in probe.series
    if series.source.startswith(("/proc/PID/net/snmp", "/proc/PID/net/netstat"))
}
"""Counters as nstat calls them, by the series that show them: the protocol and the name in /proc, in one word."""


def nstat(namespace: Namespace) -> Mapping[str, int]:
    """All counters since the namespace exists."""
    shown: Mapping[str, int] = json.loads(namespace.command("nstat", "--ignore", "--noupdate", "--zeros", "--json"))[
        "kernel"
    ]
    return shown


def confirmed(observer: Observer, namespace: Namespace) -> Mapping[str, int]:
    """The counters of nstat, once nothing moves them; every one that a probe shows too is asserted to be the same."""
    after = nstat(namespace)
    while True:
        before, values, after = after, observer.values(namespace.inode), nstat(namespace)
        if before == after:
            break
    both = {name: counter for name, counter in _SHOWN.items() if name in values and counter in after}
    assert both
    assert {name: values[name] for name in both} == {name: after[counter] for name, counter in both.items()}
    return after
