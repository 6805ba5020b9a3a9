"""The thread that keeps the pod names current; while the API fails, it keeps the last known names."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from otel_netagent.backoff import Backoff
from otel_netagent.identity.kubernetes.pod_store import ApiFailed, PodsApi, PodStore, VersionGone
from otel_netagent.identity.kubernetes.watch_condition import WatchCondition, WatchState
from otel_netagent.identity.pod import Pod

logger = logging.getLogger(__name__)

_BACKOFF: Final = Backoff(first_s=1.0, most_s=60.0)

_SHORT_S: Final = 1.0
"""A watch that ends sooner without reporting anything counts as a failure, and so does a version that is gone sooner
after a list: otherwise one request would follow the other without a pause."""

NOWHERE: Final = "neither KUBERNETES_SERVICE_HOST (set in every pod) nor KUBECONFIG is set"

_FIRST_S: Final = 3.0
_END_S: Final = 0.5


class ApiToEnd(PodsApi, Protocol):
    """An API whose calls can be aborted from another thread."""

    def interrupt(self) -> None:
        """Abort the call in progress; every later call fails."""


class PodWatch:
    """A thread that lists and watches from `start` to `close`. While the API fails, it keeps the last names."""

    def __init__(
        self,
        api: ApiToEnd,
        node: str,
        know: Callable[[Mapping[str, Pod]], None],
        backoff: Backoff = _BACKOFF,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`know` is called with the pods of this node after each relevant change."""
        self._api = api
        self._node = node
        self._store = PodStore(api, know, clock)
        self._clock = clock
        self._listed = clock()
        self._backoff = backoff
        self._pauses = backoff.pauses()
        self._stopping = threading.Event()
        self._tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pods", daemon=True)
        self.condition = WatchCondition(WatchState.STARTING)

    def start(self, first_s: float = _FIRST_S) -> None:
        """Start, and return when the pods are known, when the API has failed, or after `first_s` seconds.

        So pods have their names from the first collection on, and no series starts under another name.
        """
        self._thread.start()
        self._tried.wait(first_s)

    def close(self) -> None:
        """Stop. A connection attempt in progress is not waited for."""
        self._stopping.set()
        self._api.interrupt()
        self._thread.join(_END_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._list_and_watch()
            except ApiFailed as error:
                if not self._stopping.is_set():
                    self._wait_after(error)

    def _wait_after(self, error: ApiFailed) -> None:
        """Back off; but if the API has only forgotten the version, list again at once."""
        if isinstance(error, VersionGone) and self._clock() - self._listed >= _SHORT_S:
            logger.info("Kubernetes: listing the pods of node %s again: %s", self._node, error)
            return
        self._note_failure(str(error))
        self._stopping.wait(self._backoff.wait_s(next(self._pauses), error.retry_after_s))

    def _list_and_watch(self) -> None:
        """One list, if it is due, and one watch until its end. Raises ApiFailed."""
        if self._store.must_list:
            self._listed = self._clock()
            self._store.list()
            self._note_list()
        began, reported = self._clock(), False
        for _ in self._store.follow():
            reported = True
            self._note_following()
        if not reported and self._clock() - began < _SHORT_S:
            raise ApiFailed("the watch ended at once")
        self._pauses = self._backoff.pauses()

    def _note_list(self) -> None:
        before = self.condition
        self.condition = replace(before, lists=before.lists + 1, pods=self._store.count)
        if before.lists == 0:
            self._log_first_list()
        self._tried.set()

    def _log_first_list(self) -> None:
        logger.info("Kubernetes: listed the pods of node %s: %d", self._node, self._store.count)
        if self._store.count == 0:
            logger.warning(
                "Kubernetes has no pod on a node named %s; set NODE_NAME to the node's name in Kubernetes", self._node
            )

    def _note_following(self) -> None:
        """The watch has reported something, so it works; its start alone does not show that."""
        before = self.condition
        self.condition = replace(before, state=WatchState.FOLLOWING, reason="", pods=self._store.count)
        if before.state is not WatchState.FOLLOWING:
            logger.info("Kubernetes: watching the pods of node %s: %d", self._node, self._store.count)
        self._pauses = self._backoff.pauses()

    def _note_failure(self, reason: str) -> None:
        """Log the first failure, and each new reason."""
        before = self.condition
        self.condition = replace(before, state=WatchState.FAILING, reason=reason, failures=before.failures + 1)
        if (before.state, before.reason) != (WatchState.FAILING, reason):
            names = "keeping the last known pod names" if before.lists else "pods are named by their UID"
            logger.warning("Kubernetes API unavailable; %s: %s", names, reason)
        self._tried.set()


class NoWatch:
    """Stands for the watch where there is no Kubernetes."""

    condition: Final = WatchCondition(WatchState.OFF, NOWHERE)

    def close(self) -> None:
        """Nothing to stop."""


def follow_pods(environ: Mapping[str, str], node: str, know: Callable[[Mapping[str, Pod]], None]) -> PodWatch | NoWatch:
    """A started watch if the environment names an API, else NoWatch; `know` is called with the pods of the node."""
    if not (environ.get("KUBERNETES_SERVICE_HOST") or environ.get("KUBECONFIG")):
        return NoWatch()
    # Imported here to save the memory of these libraries outside of a cluster.
    from otel_netagent.identity.kubernetes.api import NodePods  # noqa: PLC0415
    from otel_netagent.identity.kubernetes.connection import api_connector  # noqa: PLC0415

    watch = PodWatch(NodePods(api_connector(environ), node), node, know)
    watch.start()
    return watch
