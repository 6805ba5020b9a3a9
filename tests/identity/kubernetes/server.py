"""A strict server of the API, as far as pods of a node need it: what its documentation does not allow is refused.

("Kubernetes API Concepts": "Efficient detection of changes", "Watch bookmarks", "Resource versions".)
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import trustme

from tests.http_serving import Handler, Server, listening
from tests.identity.kubernetes.pods import NODE

_SLICE_S: Final = 0.01


@dataclass(frozen=True)
class Refusal:
    """An answer that is given instead of the right one: a Status with the message, or `content` as it is."""

    code: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""


@dataclass
class Cluster:
    """The pods, the log of what has changed, and how the server behaves. For several threads, by `lock`.

    `forgotten` is the version up to which the log is gone. `refusals` are given first, one to each request.
    """

    tokens: set[str] = field(default_factory=lambda: {"first"})
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    version: int = 1
    forgotten: int = 0
    refusals: deque[Refusal] = field(default_factory=deque)
    requests: list[Mapping[str, str]] = field(default_factory=list)
    lines: deque[bytes] = field(default_factory=deque)
    epoch: int = 0
    watchers: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def put(self, document: Mapping[str, Any]) -> None:
        """Create or change a pod."""
        with self.lock:
            uid = document["metadata"]["uid"]
            kind = "MODIFIED" if uid in self.pods else "ADDED"
            self.pods[uid] = self._log(kind, document)

    def delete(self, uid: str) -> None:
        """Delete a pod."""
        with self.lock:
            self._log("DELETED", self.pods.pop(uid))

    def elsewhere(self) -> None:
        """Something happens to others, which only a bookmark tells."""
        with self.lock:
            self.version += 1
            self.log.append((self.version, "BOOKMARK", _bookmark(self.version)))

    def change_unseen(self, gone: str, document: Mapping[str, Any]) -> None:
        """Replace a pod by another without a word in any watch, so that only a list shows it."""
        with self.lock:
            self.version += 1
            del self.pods[gone]
            self.pods[document["metadata"]["uid"]] = dict(document)

    def restore(self, version: int) -> None:
        """Go back to an earlier version, as from a backup; watches from a later one stay silent."""
        with self.lock:
            self.version = version
            self.log.clear()

    def forget(self) -> None:
        """Forget what has changed until now: who has not seen it must list (compaction)."""
        with self.lock:
            self.forgotten = self.version
            self.log.clear()

    def break_off(self) -> None:
        """Break all connections that watch, in the middle of a message."""
        with self.lock:
            self.epoch += 1

    def listing(self) -> Mapping[str, Any]:
        """The answer to a list."""
        with self.lock:
            return {
                "kind": "PodList",
                "apiVersion": "v1",
                "metadata": {"resourceVersion": str(self.version)},
                "items": list(self.pods.values()),
            }

    def since(self, version: int) -> list[tuple[int, bytes]]:
        """What has changed since a version, as lines with their versions. Raises LookupError where it is forgotten."""
        with self.lock:
            if version < self.forgotten:
                raise LookupError("too old resource version")
            return [(at, _line(kind, thing)) for at, kind, thing in self.log if at > version]

    def _log(self, kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = {**document["metadata"], "resourceVersion": str(self.version)}
        written = {**document, "metadata": metadata}
        self.log.append((self.version, kind, written))
        return written


def _bookmark(version: int) -> dict[str, Any]:
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}, "spec": {}, "status": {}}


def _line(kind: str, thing: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": thing}).encode() + b"\n"


class _Handler(Handler):
    server: _Server

    def do_GET(self) -> None:
        cluster = self.server.cluster
        url = urlsplit(self.path)
        query = {name: value for name, (value,) in parse_qs(url.query, keep_blank_values=True).items()}
        cluster.requests.append(query)
        assert url.path == "/api/v1/pods"
        assert query["fieldSelector"] == f"spec.nodeName={NODE}"
        assert self.headers["User-Agent"].startswith("otel-netagent/")
        if cluster.refusals:
            refusal = cluster.refusals.popleft()
            self._refuse(refusal.code, refusal.message, refusal.headers, refusal.content)
        elif not self._is_known():
            self._refuse(401, "Unauthorized")
        elif "watch" in query:
            self._watch(query)
        else:
            self._list(query)

    def _is_known(self) -> bool:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and token in self.server.cluster.tokens

    def _list(self, query: Mapping[str, str]) -> None:
        """Of no older version than is asked for."""
        cluster, version = self.server.cluster, int(query.get("resourceVersion", "0"))
        if version > cluster.version:
            self._refuse(504, f"Timeout: Too large resource version: {version}, current: {cluster.version}")
        else:
            self.answer(200, json.dumps(cluster.listing()).encode())

    def _watch(self, query: Mapping[str, str]) -> None:
        cluster, version = self.server.cluster, int(query["resourceVersion"])
        assert query["watch"] == "true"
        assert query["allowWatchBookmarks"] == "true"
        assert 60 <= int(query["timeoutSeconds"]) <= 600
        try:
            cluster.since(version)
        except LookupError as error:
            self._refuse(410, str(error))
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        epoch = cluster.epoch
        cluster.watchers += 1
        try:
            while epoch == cluster.epoch and not self.server.ending.is_set():
                if cluster.lines:
                    self._say(cluster.lines.popleft())
                version = self._tell(version)
                time.sleep(_SLICE_S)  # a server's own pace, nobody waits for it
            self.wfile.write(b"400\r\n{")  # the rest of the chunk never comes
        except OSError:
            pass  # the client has gone, or an error has ended it
        finally:
            cluster.watchers -= 1
            self.close_connection = True

    def _tell(self, version: int) -> int:
        """Tell what is new; the version up to which all has been told."""
        try:
            news = self.server.cluster.since(version)
        except LookupError as error:
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": str(error)}
            self._say(_line("ERROR", status))
            return version
        for at, line in news:
            self._chunk(line[:10])
            self._chunk(line[10:])
            version = at
        return version

    def _say(self, line: bytes) -> None:
        """Write a message; one that tells of an error is the last."""
        self._chunk(line)
        if b'"ERROR"' in line:
            self.wfile.write(b"0\r\n\r\n")
            raise ConnectionError

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _refuse(self, code: int, message: str, headers: Mapping[str, str] | None = None, content: bytes = b"") -> None:
        status = {"kind": "Status", "status": "Failure", "code": code, "message": message}
        self.answer(code, content or json.dumps(status).encode(), headers)


class _Server(Server):
    def __init__(self, cluster: Cluster, certificate: trustme.LeafCert, port: int) -> None:
        self.cluster = cluster
        self.ending = threading.Event()
        super().__init__(_Handler, port)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust the certificate leaves in the middle of the handshake."""


@contextmanager
def serving(cluster: Cluster, certificate: trustme.LeafCert, port: int = 0) -> Iterator[int]:
    """Have it listen; the port."""
    server = _Server(cluster, certificate, port)
    try:
        with listening(server):
            yield server.server_port
    finally:
        # Only now end the watches, whose clients come back at once: a connection that is reset before its handshake
        # leaves a socket unclosed in the client (CPython 3.11, SSLSocket._create).
        server.ending.set()
