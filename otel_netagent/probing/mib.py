"""Probes whose series are SNMP counters: columns of the walk over the namespaces."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Final, TypeAlias

from otel_netagent.kernel.mibs import MibField
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.probe_status import HookStatus
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Table
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.capability import EBPF
from otel_netagent.probing.columns import Column
from otel_netagent.probing.declaration import Environment, EventSource, Probe

_FILES: Final = {
    "Tcp": "snmp",
    "Udp": "snmp",
    "Ip": "snmp",
    "Icmp": "snmp",
    "TcpExt": "netstat",
    "IpExt": "netstat",
    "Udp6": "snmp6",
    "Ip6": "snmp6",
    "Icmp6": "snmp6",
}


MibColumn: TypeAlias = Column[MibField]
"""A series and the counter that it shows."""


def counter(name: str, field: MibField, unit: str, meaning: str, *aliases: str) -> MibColumn:
    """Declare a counter `inspector_pod_NAME` that shows `field`."""
    return _mib_column(Kind.COUNTER, name, field, unit, meaning, aliases)


def gauge(name: str, field: MibField, unit: str, meaning: str) -> MibColumn:
    """Declare a gauge `inspector_pod_NAME` that shows `field`."""
    return _mib_column(Kind.GAUGE, name, field, unit, meaning, ())


def _mib_column(  # noqa: PLR0913, PLR0917 - a row of a table of declarations
    kind: Kind, name: str, field: MibField, unit: str, meaning: str, aliases: tuple[str, ...]
) -> MibColumn:
    protocol, counter_name = field
    source = f"/proc/PID/net/{_FILES[protocol]} {protocol} {counter_name}"
    full_names = tuple(f"inspector_pod_{alias}" for alias in aliases)
    return Column(field, Series(f"inspector_pod_{name}", kind, unit, meaning, source, aliases=full_names))


def by_rule(field: MibField, unit: str) -> MibColumn:
    """Declare the counter that the kernel calls `field` under its own name, in lower case and without separator.

    IpExt has the counters of IPv4 that RFC 4293 added to those of Ip: they are one MIB, and one here.
    """
    protocol, name = field
    shown = "Ip" if protocol == "IpExt" else protocol
    meaning = f"{shown} {name}, as the kernel counts it (Documentation/networking/snmp_counter.rst)"
    return counter(f"{shown}{name}".lower(), field, unit, meaning)


WALK_COST: Final = "in the one pass over the namespaces, 1.2 ms for 110 of them, whichever of its probes are on"


def mib_probe(name: str, summary: str, *columns: MibColumn, cost: str, opt_in: str = "") -> Probe:
    """Declare a probe of these columns."""
    return Probe(
        name=name,
        summary=summary,
        series=tuple(column.series for column in columns),
        start=lambda environment: _RunningMibProbe(name, columns, environment),
        cost=cost,
        capabilities=EBPF,
        opt_in=opt_in,
    )


class _RunningMibProbe:
    event_source: EventSource | None = None

    def __init__(self, name: str, columns: tuple[MibColumn, ...], environment: Environment) -> None:
        positions = environment.walk.walk.positions
        # A kernel that does not count a thing shows no series of it: absent is not zero.
        here = [column for column in columns if column.field in positions]
        if not here:
            raise Unavailable(f"this kernel has none of the counters of {name}")
        self._name = name
        self._series = tuple(column.series for column in here)
        # Twice the last one, since itemgetter of a single item would not give a tuple.
        self._pick = itemgetter(*(positions[column.field] for column in here), positions[here[-1].field])
        missing = [column.field[1] for column in columns if column.field not in positions]
        purpose = f"counters of every namespace{', without ' + ', '.join(missing) if missing else ''}"
        self.hooks: tuple[HookStatus, ...] = (environment.walk.hook(purpose),)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        pick = self._pick
        yield Table(self._name, self._series, {(each.cookie, ()): pick(each.counters)[:-1] for each in namespaces})

    def close(self) -> None:
        """Nothing of its own: the walk is the agent's."""
