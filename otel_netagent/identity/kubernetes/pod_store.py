"""A copy of the node's pods in the API, kept current by list and watch.

A list returns all pods as of a version; a watch, each change since that version, and sometimes a bookmark: a later
version up to which nothing has changed. If only the connection breaks, the next watch continues from the last version.
If the API ends the watch with an error, the changes since that version are lost, and the pods are listed again
("Kubernetes API Concepts", "Efficient detection of changes"; client-go's Reflector does the same). They are also
listed periodically: a watch may miss changes without an error (after the API was restored from a backup), and would
then keep wrong names for ever.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from otel_netagent.identity.kubernetes.objects import NoPod, pod_of
from otel_netagent.identity.pod import Pod

DELETED_S: Final = 60.0
"""How long a deleted pod keeps its name: its last processes and packets outlive it."""

LIST_EVERY_S: Final = range(30 * 60, 37 * 60)
"""Time between lists, random so that the nodes do not all list at once. A list that is due waits for the next message
of the watch, or its end, which comes within eight minutes: 45 minutes at most."""

_ANY_VERSION: Final = "0"
"""A list at this version comes from the API server's memory, so thousands of agents may ask at once."""

_NEWEST_VERSION: Final = ""
"""A list at this version may be read from the database."""


class ApiFailed(Exception):
    """A request to the API failed; the text is one line. `retry_after_s` is the pause that the API asks for."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        """`reason` is for the log and for `/status`."""
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class ConnectionLost(ApiFailed):
    """The connection was lost or never made: the next watch may continue from the last version."""


class VersionGone(ApiFailed):
    """The API no longer has the version from which to continue (410 Gone)."""


class VersionAhead(ApiFailed):
    """The API has not reached the requested version yet (504), for example after a restore from a backup."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All pods as of a version."""

    version: str
    pods: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One message of a watch: ADDED, MODIFIED, DELETED with the pod, or BOOKMARK with nothing but a version."""

    kind: str
    object: Mapping[str, Any]


class PodsApi(Protocol):
    """The pods of one node at the API. Both calls raise ApiFailed."""

    def list(self, version: str) -> Listing:
        """All pods, at this version or later; at any version ("0"); or the current ones ("")."""

    def watch(self, version: str) -> AbstractContextManager[Iterator[WatchEvent]]:
        """The changes since this version, until the API ends the watch after some minutes."""


_AT_ONCE: Final = float("-inf")


class PodStore:
    """Keeps the copy. `know` is called with all pods by UID, in a new mapping, after each relevant change.

    Most changes of a pod are not relevant: its status is written again and again. Not thread-safe.
    """

    def __init__(
        self, api: PodsApi, know: Callable[[Mapping[str, Pod]], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Sends no request before `list`. `clock` gives seconds that never go back."""
        self._api = api
        self._know = know
        self._clock = clock
        self._list_due = _AT_ONCE
        self._version = _ANY_VERSION
        self._pods: Mapping[str, Pod] = {}
        self._deleted: Mapping[str, tuple[Pod, float]] = {}  # with the time until which each is remembered
        self._known: Mapping[str, Pod] = {}  # both

    @property
    def count(self) -> int:
        """Number of pods, without deleted ones."""
        return len(self._pods)

    @property
    def must_list(self) -> bool:
        """Whether a list is due: a watch could not continue, or the last list is too old."""
        return self._clock() >= self._list_due

    def list(self) -> None:
        """Replace the copy with a new list. Raises ApiFailed."""
        try:
            listing = self._newest_list()
            pods = {pod.uid: pod for pod in map(pod_of, listing.pods)}
        except NoPod as error:
            raise ApiFailed(f"the API lists {error}") from error
        self._change(pods)
        self._version = listing.version
        self._list_due = self._clock() + random.SystemRandom().choice(LIST_EVERY_S)

    def follow(self) -> Iterator[None]:
        """Watch: yields after each message, until the watch ends or a list is due. Raises ApiFailed."""
        try:
            with self._api.watch(self._version) as events:
                for event in events:
                    self._take(event)
                    yield
                    if self.must_list:
                        return
        except ConnectionLost:
            raise
        except ApiFailed:
            self._list_due = _AT_ONCE
            raise
        except NoPod as error:
            self._list_due = _AT_ONCE
            raise ApiFailed(f"the watch reports {error}") from error

    def _newest_list(self) -> Listing:
        """A list not older than the last version, if the API has that version; else the current one."""
        try:
            return self._api.list(self._version)
        except (VersionGone, VersionAhead):
            return self._api.list(_NEWEST_VERSION)

    def _take(self, event: WatchEvent) -> None:
        match event.kind:
            case "ADDED" | "MODIFIED":
                pod = pod_of(event.object)
                self._change({**self._pods, pod.uid: pod})
            case "DELETED":
                gone = pod_of(event.object).uid
                self._change({uid: pod for uid, pod in self._pods.items() if uid != gone})
        try:
            self._version = str(event.object["metadata"]["resourceVersion"])
        except (KeyError, TypeError):
            raise NoPod(f"an object without a version in {event.kind}") from None

    def _change(self, pods: Mapping[str, Pod]) -> None:
        if pods == self._pods:
            return
        now = self._clock()
        remembered = {uid: it for uid, it in self._deleted.items() if now < it[1] and uid not in pods}
        gone = {uid: (pod, now + DELETED_S) for uid, pod in self._pods.items() if uid not in pods}
        self._deleted = remembered | gone
        self._pods = pods
        known = {uid: pod for uid, (pod, _) in self._deleted.items()} | dict(pods)
        if known != self._known:
            self._known = known
            self._know(known)
