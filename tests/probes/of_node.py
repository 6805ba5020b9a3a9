"""What a running probe tells of the node: its events, and its values of the host."""

from __future__ import annotations

from typing import NamedTuple

from otel_netagent.kernel.clock import monotonic_to_unix_ns
from otel_netagent.kernel.proc import processes
from otel_netagent.model.event import Event
from otel_netagent.model.table import Distribution
from tests.probes.running import Running
from tests.tables import distributions, key_of, numbers


class NodeValues(NamedTuple):
    """Values of one moment, by name of the series; numbers with labels as `name{a,b}`."""

    numbers: dict[str, int]
    distributions: dict[str, Distribution]


def host() -> int:
    """Inode number of the host's network namespace."""
    netns = processes.host_netns()
    assert netns is not None
    return netns


def values_of_node(probe: Running) -> NodeValues:
    """The host's values now; there must be none of any other namespace."""
    values: dict[str, int] = {}
    namespaces = probe.walk.take()
    tables, key = list(probe.probe.collect(namespaces)), key_of(host(), namespaces)
    assert {cookie for table in tables for cookie, _ in table.rows} <= {key}
    for table in numbers(tables):
        for (_, labels), row in table.rows.items():
            suffix = "{" + ",".join(labels) + "}" if labels else ""
            values |= {series.name + suffix: value for series, value in zip(table.series, row, strict=True)}
    return NodeValues(values, distributions(tables, key))


def agreeing(probe: Running) -> tuple[NodeValues, list[Event]]:
    """Values, and the events up to them since these were last asked for: none came while the values were read."""
    events = events_of_node(probe)
    while True:
        values = values_of_node(probe)
        meanwhile = events_of_node(probe)
        if not meanwhile:
            return values, events
        events += meanwhile


def events_of_node(probe: Running, monotonic_to_unix: int | None = None) -> list[Event]:
    """Events since this was last asked; their times are of CLOCK_MONOTONIC where 0 is to be added."""
    offset = monotonic_to_unix_ns() if monotonic_to_unix is None else monotonic_to_unix
    found: list[Event] = []
    while records := probe.rings.drain():
        found += [probe.source.decode(record.content, offset) for record in records]
    assert {event.netns for event in found} <= {host()}
    return found
