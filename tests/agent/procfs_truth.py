"""What `/metrics` must say of a namespace, by the kernel's own account in procfs and by ip(8)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence

from lab.counters import counters
from lab.namespace import Namespace
from otel_netagent.model.probe_status import ProbeState
from otel_netagent.model.series import Series
from otel_netagent.probes import catalogue
from tests.agent.exposition import Exposition
from tests.agent.running import Agent

_MIB_SOURCE = re.compile(r"/proc/PID/net/(?:snmp|netstat) (\w+) (\w+)")


def mib_values(namespace: Namespace, probes: Collection[str]) -> dict[str, int]:
    """Values now of these probes' series that are counters of /proc/PID/net/{snmp,netstat}, under all their names."""
    there = counters(namespace)
    return {
        name: there[source]
        for source, series in _mib_series(probes)
        if source in there
        for name in (series.name, *series.aliases)
    }


def device_values(namespace: Namespace) -> dict[str, int]:
    """Values now of the series of all devices but loopback together."""
    links = json.loads(namespace.command("ip", "-json", "-statistics", "link"))
    return {
        f"inspector_pod_netdev{direction}{what}": sum(
            link["stats64"][direction][what] for link in links if link["ifname"] != "lo"
        )
        for direction in ("rx", "tx")
        for what in ("bytes", "packets", "errors", "dropped")
    }


def collected_in_calm(agent: Agent, namespaces: Sequence[Namespace]) -> tuple[Exposition, list[dict[str, int]]]:
    """A collection of the agent, and what the kernel said of each of these both before and after it."""
    running = [name for name, probe in agent.probes().items() if probe.state is ProbeState.RUNNING]

    def undisturbed() -> tuple[Exposition, list[dict[str, int]]] | None:
        before = [mib_values(each, running) | device_values(each) for each in namespaces]
        collected = agent.next_collection()
        after = [mib_values(each, running) | device_values(each) for each in namespaces]
        return (collected, after) if before == after else None

    return agent.eventually(undisturbed)


def _mib_series(probes: Collection[str]) -> Iterator[tuple[str, Series]]:
    for name, probe in catalogue().items():
        for series in probe.series if name in probes else ():
            if source := _MIB_SOURCE.fullmatch(series.source):
                yield f"{source[1]}.{source[2]}", series
