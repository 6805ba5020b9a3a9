"""The thread that keeps the pods' names current, whatever becomes of the API."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from otel_netagent.backoff import Backoff
from otel_netagent.identity.kubernetes.condition import WatchCondition, WatchState
from otel_netagent.identity.kubernetes.mirror import ApiFailed, Mirror, PodsApi
from otel_netagent.identity.pod import Pod

logger = logging.getLogger(__name__)

_BACKOFF: Final = Backoff(first_s=1.0, most_s=60.0)

_SHORT_S: Final = 1.0
"""A watch that ends sooner, with nothing told, is a failure: else one would follow the other without a pause."""

NOWHERE: Final = "neither KUBERNETES_SERVICE_HOST (set in every pod) nor KUBECONFIG is set"

_FIRST_S: Final = 3.0
_END_S: Final = 0.5


class ApiToEnd(PodsApi, Protocol):
    """An API whose calls can be ended from another thread."""

    def interrupt(self) -> None:
        """End what is under way; every later call fails."""


class PodWatch:
    """A thread that lists and watches from `start` to `close`. While the API is away, what was known is held to."""

    def __init__(
        self, api: ApiToEnd, node: str, know: Callable[[Mapping[str, Pod]], None], backoff: Backoff = _BACKOFF
    ) -> None:
        """`know` is given the pods of the node of this name after each change that matters."""
        self._api = api
        self._node = node
        self._mirror = Mirror(api, know)
        self._backoff = backoff
        self._pauses = backoff.pauses()
        self._stopping = threading.Event()
        self._tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pods", daemon=True)
        self.condition = WatchCondition(WatchState.STARTING)

    def start(self, first_s: float = _FIRST_S) -> None:
        """Begin, and come back when the pods are known or the API has failed, or after so many seconds.

        So that pods have their names from the first collection on, and no series begins under another.
        """
        self._thread.start()
        self._tried.wait(first_s)

    def close(self) -> None:
        """End. A connection that is just being made is left to itself."""
        self._stopping.set()
        self._api.interrupt()
        self._thread.join(_END_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._list_and_watch()
            except ApiFailed as error:
                if not self._stopping.is_set():
                    self._note_failure(str(error))
                    self._stopping.wait(self._backoff.wait_s(next(self._pauses), error.retry_after_s))

    def _list_and_watch(self) -> None:
        """One list, where it is needed, and one watch, to its end. Raises ApiFailed."""
        if self._mirror.must_list:
            self._mirror.list()
            self._note_list()
        began, told = time.monotonic(), False
        for told in self._mirror.follow():
            self._note_known()
            if told:
                self._pauses = self._backoff.pauses()
        if not told and time.monotonic() - began < _SHORT_S:
            gone = self._mirror.must_list
            raise ApiFailed("the API has forgotten where to go on" if gone else "the watch ends as soon as it begins")
        self._pauses = self._backoff.pauses()
        self._note_known()

    def _note_list(self) -> None:
        before = self.condition
        if before.lists == 0 and self._mirror.count == 0:
            logger.warning(
                "Kubernetes knows of no pod on a node named %s: NODE_NAME must be the node's name there", self._node
            )
        self.condition = replace(before, lists=before.lists + 1)
        self._note_known()

    def _note_known(self) -> None:
        before = self.condition
        self.condition = replace(before, state=WatchState.FOLLOWING, reason="", pods=self._mirror.count)
        if before.state is not WatchState.FOLLOWING:
            logger.info("Kubernetes: pods of node %s are known by name: %d", self._node, self._mirror.count)
        self._tried.set()

    def _note_failure(self, reason: str) -> None:
        """Say it when it begins, and when the reason changes."""
        before = self.condition
        self.condition = replace(before, state=WatchState.FAILING, reason=reason, failures=before.failures + 1)
        if (before.state, before.reason) != (WatchState.FAILING, reason):
            kept = "what was known of them is held to" if before.lists else "they are called by their UID"
            logger.warning("Kubernetes: pods cannot be followed, %s: %s", kept, reason)
        self._tried.set()


class NoWatch:
    """Where there is no Kubernetes."""

    condition: Final = WatchCondition(WatchState.OFF, NOWHERE)

    def close(self) -> None:
        """Nothing is there to end."""


def follow_pods(environ: Mapping[str, str], node: str, know: Callable[[Mapping[str, Pod]], None]) -> PodWatch | NoWatch:
    """A watch that has begun, where this environment leads to an API; `know` is given the pods of the node."""
    if not (environ.get("KUBERNETES_SERVICE_HOST") or environ.get("KUBECONFIG")):
        return NoWatch()
    # Who is in no cluster saves the memory of these libraries.
    from otel_netagent.identity.kubernetes.api import NodePods  # noqa: PLC0415
    from otel_netagent.identity.kubernetes.connection import way_to_api  # noqa: PLC0415

    watch = PodWatch(NodePods(way_to_api(environ), node), node, know)
    watch.start()
    return watch
