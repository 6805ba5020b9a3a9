"""The pods of a node, from the API server. Answers are raw JSON: only a few fields of a pod are used."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final

import urllib3
from urllib3.exceptions import HTTPError, ProtocolError

from otel_netagent import __version__
from otel_netagent.identity.kubernetes.connection import Connect
from otel_netagent.identity.kubernetes.pod_store import (
    ApiFailed,
    ConnectionLost,
    Listing,
    VersionAhead,
    VersionGone,
    WatchEvent,
)
from otel_netagent.root_cause import root_cause

_PODS: Final = "/api/v1/pods"

_CONNECT_S: Final = 5.0
_LIST_S: Final = 30.0

_WATCH_S: Final = range(240, 480)
"""Requested duration of a watch, random so that the nodes do not all reconnect at once."""

_GRACE_S: Final = 15.0
"""A connection without any data for this long after the watch should have ended is dead."""

_MOST_COMPLAINT_BYTES: Final = 16 << 10

_AHEAD: Final = "Too large resource version"
"""The text that distinguishes this error from a gateway's timeout, in client-go too: old versions give no cause."""

_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading raises of JSON that is no answer of the API: an infinite code overflows, deep nesting ends the stack."""

_HEADERS: Final = {"Accept": "application/json", "User-Agent": f"otel-netagent/{__version__}"}


class NodePods:
    """The pods of one node. For one thread, except `interrupt`. Each request reads the token again: it gets renewed."""

    def __init__(self, connect: Connect, node: str) -> None:
        """Does not connect yet. `node` is the node's name in Kubernetes."""
        self._connect = connect
        self._selector = f"spec.nodeName={node}"
        self._interrupted = threading.Event()
        self._response: urllib3.BaseHTTPResponse | None = None

    def list(self, version: str) -> Listing:
        """See PodsApi."""
        query = {"resourceVersion": version} if version else {}
        with self._answer(query, _LIST_S) as response:
            content = response.read()
        try:
            document = json.loads(content)
            return Listing(str(document["metadata"]["resourceVersion"]), tuple(document["items"] or ()))
        except _UNREADABLE as error:
            raise ApiFailed(f"the answer is not a list of pods: {error!r}") from error

    @contextlib.contextmanager
    def watch(self, version: str) -> Iterator[Iterator[WatchEvent]]:
        """See PodsApi."""
        seconds = random.SystemRandom().choice(_WATCH_S)
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        with self._answer(query, seconds + _GRACE_S) as response:
            yield map(_watch_event, response)

    def interrupt(self) -> None:
        """Abort the request in progress, as a lost connection would. From any thread; every later request fails."""
        self._interrupted.set()
        if response := self._response:
            with contextlib.suppress(ValueError, RuntimeError, OSError):  # the request has ended meanwhile
                response.shutdown()

    @contextlib.contextmanager
    def _answer(self, query: Mapping[str, str], read_s: float) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer to a request, read as it arrives. Raises ApiFailed for an error of the API, else ConnectionLost.

        Errors while the answer is read are raised in the same way.
        """
        connection = self._connect()
        try:
            with connection.pool.request(
                "GET",
                connection.address + _PODS,
                fields={"fieldSelector": self._selector, **query},
                headers={**_HEADERS, **connection.headers},
                timeout=urllib3.Timeout(connect=_CONNECT_S, read=read_s),
                preload_content=False,
            ) as response:
                self._response = response
                if self._interrupted.is_set():
                    raise ConnectionLost("the agent is stopping")
                _check(response)
                yield response
        except ProtocolError as error:
            raise ConnectionLost("the connection was lost") from error
        except (HTTPError, OSError) as error:
            raise ConnectionLost(root_cause(error)) from error
        finally:
            self._response = None
            connection.pool.clear()


def _check(response: urllib3.BaseHTTPResponse) -> None:
    """Raise ApiFailed if the API rejects the request."""
    if response.status == HTTPStatus.OK:
        return
    content = response.read(_MOST_COMPLAINT_BYTES)
    try:
        complaint = str(json.loads(content)["message"])
    except _UNREADABLE:
        complaint = " ".join(content[:200].decode(errors="replace").split()) or str(response.reason)
    raise _refusal(response.status, complaint, response.headers.get("Retry-After", ""))


def _refusal(code: int, complaint: str, retry_after: str = "") -> ApiFailed:
    if code == HTTPStatus.GONE:
        return VersionGone(complaint)
    if code == HTTPStatus.GATEWAY_TIMEOUT and _AHEAD in complaint:
        return VersionAhead(f"HTTP status {code}: {complaint}")
    right = "; allow the service account of the agent to list and watch pods" if code == HTTPStatus.FORBIDDEN else ""
    return ApiFailed(f"HTTP status {code}: {complaint}{right}", float(retry_after) if retry_after.isdecimal() else None)


def _watch_event(line: bytes) -> WatchEvent:
    """A message of a watch, which is one line of JSON. Raises ApiFailed if it reports an error."""
    try:
        document = json.loads(line)
        kind, thing = document["type"], document["object"]
        if kind == "ERROR":
            raise _refusal(int(thing.get("code") or 0), str(thing.get("message")))
    except _UNREADABLE as error:
        raise ApiFailed(f"cannot decode a message of the watch: {error!r}") from error
    return WatchEvent(kind, thing)
