"""A copy of what the API knows of the node's pods, kept by list and watch.

A list gives all pods as of a version; a watch, each change since that version, and now and then a bookmark: a later
version up to which nothing has changed. A watch may end at any time, and the next goes on where it ended. Where the
API has forgotten the version (410 Gone), the pods are listed anew ("Kubernetes API Concepts", "Efficient detection of
changes").
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from otel_netagent.identity.kubernetes.objects import NoPod, pod_of
from otel_netagent.identity.pod import Pod

DELETED_S: Final = 60.0
"""A pod that the API has forgotten keeps its name for so long: its last processes and packets outlive it."""

_ANY_VERSION: Final = "0"
"""A list at this version comes from the API server's memory, which thousands of agents may ask for at once."""

_NEWEST_VERSION: Final = ""


class ApiFailed(Exception):
    """The API did not answer as it should; one line. `retry_after_s` is what it asks for."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        """`reason` is for the log and for `/status`."""
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class VersionGone(Exception):
    """The API has forgotten the version from which it was to go on."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All pods as of a version."""

    version: str
    pods: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """One message of a watch: ADDED, MODIFIED, DELETED with the pod, or BOOKMARK with nothing but a version."""

    kind: str
    object: Mapping[str, Any]


class PodsApi(Protocol):
    """The pods of one node at the API. Both calls raise ApiFailed or VersionGone."""

    def list(self, version: str) -> Listing:
        """All pods, of any version ("0"), or as of now ("")."""

    def watch(self, version: str) -> AbstractContextManager[Iterator[Notice]]:
        """What has changed since this version, until the API ends it, which it does after minutes."""


class Mirror:
    """Keeps the copy. `know` is given all pods by UID, another mapping after each change that matters.

    Most changes of a pod do not: its status is written again and again. Not for several threads at once.
    """

    def __init__(
        self, api: PodsApi, know: Callable[[Mapping[str, Pod]], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is asked before `list`. `clock` gives seconds that never go back."""
        self._api = api
        self._know = know
        self._clock = clock
        self._list_from = _ANY_VERSION
        self._version: str | None = None
        self._pods: Mapping[str, Pod] = {}
        self._deleted: Mapping[str, tuple[Pod, float]] = {}  # until when each is remembered
        self._known: Mapping[str, Pod] = {}  # both

    @property
    def count(self) -> int:
        """How many pods there are."""
        return len(self._pods)

    @property
    def must_list(self) -> bool:
        """Whether there is no version from which a watch could go on."""
        return self._version is None

    def list(self) -> None:
        """Have all pods anew. Raises ApiFailed."""
        try:
            listing = self._api.list(self._list_from)
            pods = {pod.uid: pod for pod in map(pod_of, listing.pods)}
        except VersionGone as error:
            raise ApiFailed(str(error)) from error
        except NoPod as error:
            raise ApiFailed(f"it lists {error}") from error
        self._change(pods)
        # From here on, what is in an API server's memory may be older than what has been seen.
        self._version, self._list_from = listing.version, _NEWEST_VERSION

    def follow(self) -> Iterator[bool]:
        """Watch: False when it has begun, True after each message, until it ends. Raises ApiFailed."""
        if self._version is None:
            return
        try:
            with self._api.watch(self._version) as notices:
                yield False
                for notice in notices:
                    self._take(notice)
                    yield True
        except VersionGone:
            self._version = None
        except NoPod as error:
            self._version = None
            raise ApiFailed(f"it tells of {error}") from error

    def _take(self, notice: Notice) -> None:
        match notice.kind:
            case "ADDED" | "MODIFIED":
                pod = pod_of(notice.object)
                self._change({**self._pods, pod.uid: pod})
            case "DELETED":
                gone = pod_of(notice.object).uid
                self._change({uid: pod for uid, pod in self._pods.items() if uid != gone})
        try:
            self._version = str(notice.object["metadata"]["resourceVersion"])
        except (KeyError, TypeError):
            raise NoPod(f"an object without a version, as {notice.kind}") from None

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
