"""Reading what bpf/include/occurrences.h counts: how often each kind of thing happened, and how many events it made."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import Layout
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.kernel.proc import processes
from otel_netagent.model.event import EventType
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import RowKey, Table
from otel_netagent.probing.declaration import EventSettings
from otel_netagent.probing.walk_keys import WalkKeys

logger = logging.getLogger(__name__)

_FORGET_AFTER: Final = 3
"""Collections that a namespace without a process is kept for: its last drops may come after its last process."""

_UNKNOWN: Final = 0
"""The cookie of what happened in a namespace that the kernel side could not determine."""


class Occurrence(NamedTuple):
    """One kind of occurrence in one namespace since the probe was attached, by what became of each.

    `netns_cookie` is that of the namespace as the walk knows it. `location` is an address in the kernel, or 0. What is
    `expected` is no fault; `not_emitted` are those without an event since events of their kind, or any, are off.
    """

    netns_cookie: int
    kind: int
    location: int
    expected: bool
    emitted: int
    suppressed: int
    lost: int
    not_emitted: int

    @property
    def total(self) -> int:
        """How often it happened."""
        return self.emitted + self.suppressed + self.lost + self.not_emitted


class _Key(NamedTuple):
    """Members of `struct occurrence_key`, in its order, in which they are read fastest."""

    netns_cookie: int
    location: int
    netns_inode: int
    kind: int
    expected: int


class _Counts(NamedTuple):
    """Members of `struct occurrences`."""

    emitted: int
    suppressed: int
    lost: int
    not_emitted: int


EVENTS: Final = Series(
    "netagent_events_total",
    Kind.COUNTER,
    "{event}",
    "occurrences that make events, by what became of them: emitted, suppressed by the rate limit, lost (buffer full)",
    "eBPF, counted where it happens",
    labels=("type", "outcome"),
    aliases=("netagent_events",),
)
UNCOUNTED: Final = Series(
    "netagent_uncounted_total",
    Kind.COUNTER,
    "{occurrence}",
    "occurrences that no series has, since a table of the probe in the kernel was full; of the node, shown as the "
    "host's",
    "eBPF, counted where it happens",
    labels=("probe",),
    aliases=("netagent_uncounted",),
)
COMMON: Final = (EVENTS, UNCOUNTED)
"""The series of every probe that counts occurrences."""


def events_table(probe: str, occurrences: Iterable[Occurrence], types: Sequence[EventType]) -> Table:
    """What became of the occurrences of each type, in each namespace; kind N is `types[N]`, or the only one."""
    outcomes: Counter[RowKey] = Counter()
    for each in occurrences:
        if each.total > each.not_emitted:
            name = types[each.kind if len(types) > 1 else 0].name
            outcomes[each.netns_cookie, (name, "emitted")] += each.emitted
            outcomes[each.netns_cookie, (name, "suppressed")] += each.suppressed
            outcomes[each.netns_cookie, (name, "lost")] += each.lost
    return Table(probe, (EVENTS,), {key: (count,) for key, count in outcomes.items()})


def uncounted_table(probe: str, uncounted: int, namespaces: Iterable[Namespace], host: int | None) -> Table:
    """What a probe could not count, as that of `host`, an inode; no row where it is not among the namespaces."""
    return Table(
        probe, (UNCOUNTED,), {(each.cookie, (probe,)): (uncounted,) for each in namespaces if each.inode == host}
    )


def limit_events(bpf_object: BpfObject, events: EventSettings | None) -> None:
    """Have a loaded object emit as many events as are wanted from now on; it counts in any case."""
    bpf_object.variable("events_per_second")[0] = events.per_second if events else 0
    bpf_object.variable("emit_expected")[0] = events is not None and events.expected


class Occurrences:
    """The table of one object, read for the namespaces that exist; entries of the others are removed in time."""

    def __init__(self, probe: str, types: Sequence[EventType], bpf_object: BpfObject) -> None:
        """Use the maps of a loaded object. Kind N is `types[N]`, or the only one."""
        self._probe = probe
        self._types = types
        self._map = bpf_object.map("occurrences")
        self._keys = Layout(bpf_object.btf, "occurrence_key", _Key)
        self._counts = Layout(bpf_object.btf, "occurrences", _Counts)
        self._uncounted = bpf_object.variable("uncounted")
        self._host = processes.host_netns()
        self._absent: dict[int, int] = {}
        self._warned = False

    @property
    def uncounted(self) -> int:
        """Occurrences for which the table had no room."""
        return self._uncounted[0]

    @property
    def absent(self) -> frozenset[int]:
        """Cookies of the namespaces that were not there at the last reading, and whose entries are kept yet."""
        return frozenset(self._absent)

    def read(self, namespaces: Sequence[Namespace]) -> list[Occurrence]:
        """Every entry of these namespaces; what is of a namespace that the kernel could not determine is the host's."""
        keys = WalkKeys(namespaces)
        host = next((each.cookie for each in namespaces if each.inode == self._host), None)
        found: list[Occurrence] = []
        absent: dict[int, list[bytes]] = {}
        for raw_key, (cookie, location, inode, kind, expected), counts in self._entries():
            namespace = host if cookie == _UNKNOWN else keys.of(cookie, inode)
            if namespace is not None:
                found.append(Occurrence(namespace, kind, location, bool(expected), *counts))
            elif cookie != _UNKNOWN:
                absent.setdefault(cookie, []).append(raw_key)
        self._forget(absent)
        self._warn_of_uncounted()
        return found

    def tables(self, found: Iterable[Occurrence], namespaces: Iterable[Namespace]) -> Iterator[Table]:
        """What became of those that were found in these namespaces, and how many could not be counted."""
        yield events_table(self._probe, found, self._types)
        yield uncounted_table(self._probe, self.uncounted, namespaces, self._host)

    def _entries(self) -> Iterator[tuple[bytes, tuple[int, ...], tuple[int, ...]]]:
        """Each key as the kernel has it, the members of `_Key`, and those of `_Counts`."""
        keys, values = self._map.read_all()
        size = self._map.key_size
        raw_keys = (keys[start : start + size] for start in range(0, len(keys), size))
        return zip(raw_keys, self._keys.read_values(keys), self._counts.read_values(values), strict=True)

    def _forget(self, absent: dict[int, list[bytes]]) -> None:
        """Remove what namespaces left that are gone. A cookie is never used again, so nobody else loses by it."""
        for cookie, keys in absent.items():
            if self._absent.get(cookie, 0) == _FORGET_AFTER:
                for key in keys:
                    self._map.delete(key)
        self._absent = {
            cookie: collections + 1 for cookie in absent if (collections := self._absent.get(cookie, 0)) < _FORGET_AFTER
        }

    def _warn_of_uncounted(self) -> None:
        """Say once that numbers are too low from now on."""
        if self.uncounted and not self._warned:
            self._warned = True
            logger.warning("a table of occurrences is full: those of further kinds or namespaces are not counted")
