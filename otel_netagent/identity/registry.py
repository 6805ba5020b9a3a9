"""Registry of entities: whose each network namespace is, kept current at little cost.

The processes in a namespace show its owner, so procfs is scanned, but only when something may have changed.
Two facts shape the rest:

- The kernel gives the inode number of a deleted namespace to the next that is created. So a namespace is known by
  its cookie, a number that is never used twice. Where there is none (the walk over procfs) its key
  is the inode number, and a witness, one of its processes: while that lives in it, the number means the same namespace.
  procfs shows no cookies. So a scan of it proves nothing of a namespace that was seen first after it, nor of one that a
  walk has met before it, unless the process or the name that it found, or the process that the walk met, is there now.
- A pod's namespace is born with processes of the runtime in it that are in no container, or in another one: a CNI
  plugin may itself be a pod. So what no container owns is not settled, nor what a process showed that has left it:
  it is examined again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from otel_netagent.identity import netns_names, netns_processes
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.identity.naming import EntityNames, EntityNaming
from otel_netagent.identity.owner import NamespaceOwner, Netns, examine, host_entity
from otel_netagent.kernel.proc import files, processes
from otel_netagent.open_files import ShortageLog

SETTLING_S = 60.0
"""What no container owns is examined at each update for so long, then once in this time."""

DEPARTED_S = 60.0
"""For so long events go to the last owner of a namespace: packets still come when its processes are gone."""

SEARCH_EVERY_S = 1.0
"""All events of unknown namespaces together cause at most one scan of procfs in this time."""

SEARCH_AGAIN_S = 10.0
"""What a search found holds for so long: a router's namespace, which has no process, is not sought each second."""


class LiveNamespace(Protocol):
    """A namespace with a process, found by a walk; `cookie` is the inode number where the kernel has no cookies."""

    @property
    def inode(self) -> int:
        """As in /proc/PID/ns/net."""

    @property
    def cookie(self) -> int:
        """Never used twice, if it is not the inode."""

    @property
    def pid(self) -> int:
        """A process in it."""


@dataclass(frozen=True, slots=True)
class _KnownNamespace:
    """A namespace with processes, and what is needed to judge later whether its entity is still right."""

    owner: NamespaceOwner
    first_seen: float
    examined: float
    witness_left: bool = False

    @property
    def owned(self) -> bool:
        return self.owner.entity.kind is not EntityKind.NETNS

    @property
    def settled(self) -> bool:
        return self.owned and not self.witness_left

    def is_due(self, now: float) -> bool:
        """Whether to examine it again."""
        return not self.settled and (now - self.first_seen < SETTLING_S or now - self.examined >= SETTLING_S)

    def called(self, names: EntityNames) -> _KnownNamespace:
        """The same by what is known of names now."""
        return replace(self, owner=_called(self.owner, names))


@dataclass(frozen=True, slots=True)
class _DepartedOwner:
    """The owner of a departed namespace, believed until a moment of the clock."""

    owner: NamespaceOwner
    end: float


@dataclass(frozen=True, slots=True)
class _SearchResult:
    """What a search found, believed until `end`. The namespace was there `since` it was first sought."""

    owner: NamespaceOwner
    since: float
    end: float


@dataclass(frozen=True, slots=True)
class _Scan:
    """Processes and names of all namespaces at a moment of the clock."""

    time: float = float("-inf")
    processes: Mapping[int, Sequence[int]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)


class Registry:
    """Entities by network namespace. `update` and `lookup` may be called from different threads.

    `clock` gives seconds that never go back. `netns_dir` is where `ip netns` keeps its names, `naming` knows of pods
    what Kubernetes does.
    """

    def __init__(
        self,
        proc: Path = files.PROC,
        netns_dir: Path = netns_names.NETNS_DIR,
        clock: Callable[[], float] = time.monotonic,
        naming: EntityNaming | None = None,
    ) -> None:
        """Know the host's namespace from the beginning."""
        self._proc = proc
        self._netns_dir = netns_dir
        self._clock = clock
        self._naming = naming or EntityNaming()
        self._names = self._naming.names
        self._lock = threading.Lock()
        self._host = self._know_host()
        # The keys of what follows are cookies; inode numbers as soon as an update shows that its walk has no cookies.
        self._by_cookie = True
        self._known: Mapping[int, _KnownNamespace] = {}
        self._departed: Mapping[int, _DepartedOwner] = {}
        self._search_results: dict[int, _SearchResult] = {}
        self._scan = _Scan()
        self._shortage = ShortageLog()

    def update(self, live: Collection[LiveNamespace]) -> Mapping[int, Entity]:
        """Entities, by the cookies that the walk gives, of exactly the namespaces that have a process now.

        A namespace that is missing in `live` is forgotten, but for its late events. Raises OSError, with nothing
        changed, where no file can be opened.
        """
        with self._lock:
            self._follow_names()
            now = self._clock()
            known = {each.cookie: kept for each in live if (kept := self._still_known(each))}
            if any(each.cookie not in known or known[each.cookie].is_due(now) for each in live):
                self._scan = self._scan_now(now)
                for each in live:
                    if each.cookie not in known or not known[each.cookie].settled:
                        known[each.cookie] = self._examine(each, known.get(each.cookie))
            self._remember_departed(known, now)
            self._known = known
            self._by_cookie = any(each.cookie != each.inode for each in live)
            return {each.cookie: known[each.cookie].owner.entity for each in live}

    def lookup(self, netns: int, cookie: int) -> Entity:
        """Entity of the namespace that an event speaks of: one of the last update, or one sought now.

        A known namespace costs a dictionary lookup. A flood of unknown ones costs one scan of procfs a second.
        Where no file can be opened for that, it is whoever owned it last, or nobody.
        """
        key = cookie if self._by_cookie else netns
        known = self._known.get(key) or self._host.get(netns)
        return known.owner.entity if known is not None else self._search(Netns(netns, key))

    def _follow_names(self) -> None:
        """Call all by the names of the present; most of the time these are those of the update before."""
        if self._names is self._naming.names:
            return
        self._names = self._naming.names
        self._host = {key: known.called(self._names) for key, known in self._host.items()}
        self._known = {key: known.called(self._names) for key, known in self._known.items()}

    def _know_host(self) -> Mapping[int, _KnownNamespace]:
        """The host by its inode number, which nobody else can get. Its cookie is known with the first walk."""
        inode = processes.host_netns(self._proc)
        if inode is None:
            return {}
        now = self._clock()
        owner = _called(NamespaceOwner(host_entity(Netns(inode, inode), self._proc), witness=1), self._names)
        return {inode: _KnownNamespace(owner, first_seen=now, examined=now)}

    def _host_as(self, live: LiveNamespace) -> _KnownNamespace:
        """The host, by the cookie that a walk gives it."""
        host = self._host[live.inode]
        if host.owner.entity.netns_cookie != live.cookie:
            entity = replace(host.owner.entity, netns_cookie=live.cookie)
            self._host = {live.inode: replace(host, owner=replace(host.owner, entity=entity))}
        return self._host[live.inode]

    def _still_known(self, live: LiveNamespace) -> _KnownNamespace | None:
        """What is known of a namespace, unless its number, for want of a cookie, now means another one."""
        if live.inode in self._host:
            return self._host_as(live)
        known = self._known.get(live.cookie)
        if known is None or live.pid == known.owner.witness:
            return known
        witness = known.owner.witness
        left = witness is None or processes.netns_of(witness, self._proc) != live.inode
        if left and live.cookie == live.inode:
            return None
        return known if left == known.witness_left else replace(known, witness_left=left)

    def _examine(self, live: LiveNamespace, known: _KnownNamespace | None) -> _KnownNamespace:
        """Find the owner of a live namespace. Of a known one the start stays, since its counters go on.

        Where only a thread is in the namespace, as of a CNI plugin, the scan has not seen it, but its pid is given.
        """
        now, proven = self._scan.time, self._is_in(live.pid, live.inode)
        pids = (self._scan.processes.get(live.inode) or (live.pid,)) if proven else ()
        name = self._scan.names.get(live.inode) if proven else None
        owner = _called(examine(Netns(live.inode, live.cookie), pids, name, self._proc), self._names)
        if known is None:
            return _KnownNamespace(owner, first_seen=now, examined=now)
        # A pod ends, and its last containers have gone; or the scan may speak of the next namespace of this number.
        if (known.owned and owner.entity.kind is EntityKind.NETNS) or not proven:
            return replace(known, examined=now)
        entity = replace(owner.entity, start_ns=known.owner.entity.start_ns or owner.entity.start_ns)
        if entity.pod_uid and entity.pod_uid == known.owner.entity.pod_uid:  # found from another container of the pod
            entity = known.owner.entity
        return _KnownNamespace(replace(owner, entity=entity), known.first_seen, examined=now)

    def _remember_departed(self, known: Mapping[int, _KnownNamespace], now: float) -> None:
        """Remember the owners of namespaces that are gone, but not those that no process has shown."""
        gone = self._known.keys() - known.keys()
        for key in gone:
            self._search_results.pop(key, None)
        remembered = {key: it for key, it in self._departed.items() if now < it.end}
        owners = {key: it.owner for key in gone if (it := self._known[key]).owner.witness is not None}
        self._departed = remembered | {key: _DepartedOwner(owner, now + DEPARTED_S) for key, owner in owners.items()}

    def _search(self, netns: Netns) -> Entity:
        with self._lock:
            self._follow_names()
            now = self._clock()
            if remembered := self._remembered(netns, now):
                return remembered.entity
            try:
                return self._search_again(netns, now).entity
            except OSError as error:
                self._shortage.note("events of new namespaces are emitted without the name of their pod", error)
                departed = self._departed.get(netns.cookie)
                return (departed.owner if departed else examine(netns, (), None, self._proc)).entity

    def _search_again(self, netns: Netns, now: float) -> NamespaceOwner:
        """What a search finds, which is remembered. Raises OSError where no file can be opened."""
        since = self._search_results[netns.cookie].since if netns.cookie in self._search_results else now
        next_scan = self._scan.time + SEARCH_EVERY_S
        if now < next_scan:
            end = next_scan
        else:
            self._scan = self._scan_now(now)
            self._search_results = {other: it for other, it in self._search_results.items() if now < it.end}
            end = now + SEARCH_AGAIN_S
        owner = self._find(netns, since)
        self._search_results[netns.cookie] = _SearchResult(owner, since, end)
        return owner

    def _remembered(self, netns: Netns, now: float) -> NamespaceOwner | None:
        """What needs no scan: what a search found lately, and whose a departed namespace with a cookie was."""
        has_cookie = netns.cookie != netns.inode
        it = self._search_results.get(netns.cookie) or (self._departed.get(netns.cookie) if has_cookie else None)
        return it.owner if it is not None and now < it.end else None

    def _find(self, netns: Netns, since: float) -> NamespaceOwner:
        """Owner by the last scan: by the namespace's processes, else the last owner, else by its name."""
        scan = self._scan
        owner = examine(netns, scan.processes.get(netns.inode, ()), scan.names.get(netns.inode), self._proc)
        if self._is_of_another(netns) or not self._is_proven(owner, since):
            owner = examine(netns, (), None, self._proc)
        departed = self._departed.get(netns.cookie)
        if owner.witness is None and departed is not None and self._clock() < departed.end:
            return departed.owner
        return _called(owner, self._names)

    def _is_proven(self, owner: NamespaceOwner, since: float) -> bool:
        """Whether what the last scan says holds for a namespace that was first sought at `since`.

        If the scan was before that, the number may have been another's then, whom nobody need have seen.
        """
        netns = owner.entity.netns
        if self._scan.time >= since:
            return True
        if owner.witness is not None:
            return self._is_in(owner.witness, netns)
        return netns_names.by_netns(self._netns_dir).get(netns) == self._scan.names.get(netns)

    def _is_in(self, pid: int, netns: int) -> bool:
        return processes.netns_of(pid, self._proc) == netns

    def _is_of_another(self, netns: Netns) -> bool:
        """Whether the last scan speaks of another namespace with this number: that one's witness was still there."""
        seen: dict[int, _KnownNamespace | _DepartedOwner | _SearchResult] = {
            **self._known,
            **self._departed,
            **self._search_results,
        }
        pids = self._scan.processes.get(netns.inode, ())
        return any(
            it.owner.witness in pids
            for cookie, it in seen.items()
            if cookie != netns.cookie and it.owner.entity.netns == netns.inode
        )

    def _scan_now(self, now: float) -> _Scan:
        return _Scan(now, netns_processes.by_netns(self._proc), netns_names.by_netns(self._netns_dir))


def _called(owner: NamespaceOwner, names: EntityNames) -> NamespaceOwner:
    """The owner with its entity by the name that it has; itself where nothing new is known of it."""
    entity = names.of(owner.entity)
    return owner if entity is owner.entity else replace(owner, entity=entity)
