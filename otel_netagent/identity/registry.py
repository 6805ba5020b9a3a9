"""Registry of entities: whose each network namespace is, kept current at little cost.

The processes in a namespace tell whose it is, so procfs is scanned, but only when something may have changed.
Two facts shape the rest:

- The kernel gives the inode number of a deleted namespace to the next that is created. So a namespace is known by
  its number and a witness, one of its processes: while that lives in it, the number means the same namespace.
- A pod's namespace is born with processes of the runtime in it that are in no container. So what no container
  owns is not settled: it is examined again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from otel_netagent.identity import netns_names, processes
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.identity.owner import examine, host_entity
from otel_netagent.kernel import procfs

SETTLING_S = 60.0
"""What no container owns is examined at each update for so long, then once in this time."""

DEPARTED_S = 60.0
"""For so long events go to the last owner of a namespace: packets still come when its processes are gone."""

SEARCH_EVERY_S = 1.0
"""All events of unknown namespaces together cause at most one scan of procfs in this time."""

SEARCH_AGAIN_S = 10.0
"""What a search found holds for so long: a router's namespace, which has no process, is not sought each second."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A namespace with processes, and what is needed to judge later whether its entity is still right."""

    entity: Entity
    witness: int | None
    first_seen: float
    examined: float

    @property
    def settled(self) -> bool:
        return self.entity.kind is not EntityKind.NETNS

    def is_due(self, now: float) -> bool:
        """Whether to examine it again."""
        return not self.settled and (now - self.first_seen < SETTLING_S or now - self.examined >= SETTLING_S)


@dataclass(frozen=True, slots=True)
class _Until:
    """An entity that is believed until a moment of the clock."""

    entity: Entity
    end: float


@dataclass(frozen=True, slots=True)
class _Scan:
    """Processes and names of all namespaces at a moment of the clock."""

    time: float = float("-inf")
    processes: Mapping[int, Sequence[int]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)


class Registry:
    """Entities by network namespace. `update` and `lookup` may be called from different threads.

    `clock` gives seconds that never go back. `netns_dir` is where `ip netns` keeps its names.
    """

    def __init__(
        self,
        proc: Path = procfs.PROC,
        netns_dir: Path = netns_names.NETNS_DIR,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know the host's namespace: that of PID 1; the agent's own where PID 1 may not be looked at."""
        self._proc = proc
        self._netns_dir = netns_dir
        self._clock = clock
        self._lock = threading.Lock()
        self._host = self._know_host()
        self._known: Mapping[int, _Known] = self._host
        self._departed: Mapping[int, _Until] = {}
        self._found: dict[int, _Until] = {}
        self._scan = _Scan()

    def update(self, live: Mapping[int, int]) -> Mapping[int, Entity]:
        """Entities of exactly the namespaces that have a process now: `live` gives each one's inode number and a pid.

        A namespace that is missing in `live` is forgotten, but for its late events.
        """
        with self._lock:
            now = self._clock()
            known = {netns: kept for netns, pid in live.items() if (kept := self._still_known(netns, pid))}
            if any(netns not in known or known[netns].is_due(now) for netns in live):
                self._scan = self._scan_now(now)
                for netns, pid in live.items():
                    if netns not in known or not known[netns].settled:
                        known[netns] = self._examine(netns, pid, known.get(netns))
            self._remember_departed(known, now)
            self._known = {**self._host, **known}
            return {netns: known[netns].entity for netns in live}

    def lookup(self, netns: int) -> Entity:
        """Entity of the namespace that an event speaks of: one of the last update, or one sought now.

        A known namespace costs a dictionary lookup. A flood of unknown ones costs one scan of procfs a second.
        """
        known = self._known.get(netns)
        return known.entity if known is not None else self._search(netns)

    def _know_host(self) -> dict[int, _Known]:
        netns = procfs.netns_of(1, self._proc) or procfs.netns_of(os.getpid())
        if netns is None:
            return {}
        now = self._clock()
        return {netns: _Known(host_entity(netns, self._proc), witness=1, first_seen=now, examined=now)}

    def _still_known(self, netns: int, pid: int) -> _Known | None:
        """What is known of a namespace, unless its number now means another one."""
        known = self._known.get(netns)
        if known is None or netns in self._host or pid == known.witness:
            return known
        if known.witness is not None and procfs.netns_of(known.witness, self._proc) == netns:
            return known
        return None

    def _examine(self, netns: int, pid: int, known: _Known | None) -> _Known:
        """Tell the owner of a live namespace anew. Of a known one the start stays, since its counters go on.

        Where only a thread is in the namespace, as of a CNI plugin, the scan has not seen it, but `pid` is it.
        """
        now, pids = self._scan.time, self._scan.processes.get(netns) or (pid,)
        finding = examine(netns, pids, self._scan.names.get(netns), self._proc)
        if known is None:
            return _Known(finding.entity, finding.witness, first_seen=now, examined=now)
        entity = replace(finding.entity, start_ns=known.entity.start_ns)
        return _Known(entity, finding.witness, known.first_seen, examined=now)

    def _remember_departed(self, known: Mapping[int, _Known], now: float) -> None:
        gone = self._known.keys() - known.keys() - self._host.keys()
        for netns in gone:
            self._found.pop(netns, None)
        remembered = {netns: it for netns, it in self._departed.items() if now < it.end}
        self._departed = remembered | {netns: _Until(self._known[netns].entity, now + DEPARTED_S) for netns in gone}

    def _search(self, netns: int) -> Entity:
        with self._lock:
            now = self._clock()
            found = self._found.get(netns)
            if found is not None and now < found.end:
                return found.entity
            next_scan = self._scan.time + SEARCH_EVERY_S
            if now < next_scan:
                end = next_scan
            else:
                self._scan = self._scan_now(now)
                self._found = {other: it for other, it in self._found.items() if now < it.end}
                end = now + SEARCH_AGAIN_S
            entity = self._find(netns, now)
            self._found[netns] = _Until(entity, end)
            return entity

    def _find(self, netns: int, now: float) -> Entity:
        """Entity by the last scan: by the namespace's processes, else its last owner, else its name."""
        finding = examine(netns, self._scan.processes.get(netns, ()), self._scan.names.get(netns), self._proc)
        departed = self._departed.get(netns)
        if finding.witness is None and departed is not None and now < departed.end:
            return departed.entity
        return finding.entity

    def _scan_now(self, now: float) -> _Scan:
        return _Scan(now, processes.by_netns(self._proc), netns_names.by_netns(self._netns_dir))
