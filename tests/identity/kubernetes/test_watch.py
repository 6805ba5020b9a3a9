"""The watch against a server that speaks HTTPS: tokens, certificates, outages, and what is said of them."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trustme

from lab.waiting import eventually
from otel_netagent.backoff import Backoff
from otel_netagent.identity.kubernetes import api
from otel_netagent.identity.kubernetes.api import NodePods
from otel_netagent.identity.kubernetes.connection import api_connector
from otel_netagent.identity.kubernetes.pod_store import DELETED_S
from otel_netagent.identity.kubernetes.watch import PodWatch, follow_pods
from otel_netagent.identity.kubernetes.watch_condition import WatchCondition, WatchState
from otel_netagent.identity.pod import Pod
from tests.identity.kubernetes.conftest import Account, account_at
from tests.identity.kubernetes.pods import NODE, UID, pod_document
from tests.identity.kubernetes.server import Cluster, Refusal, serving
from tests.identity.node import Clock

_DEEP = b"[" * 10_000
"""JSON nested more deeply than Python reads it."""

QUICK = Backoff(first_s=0.01, most_s=0.05)
LISTED_ONE = f"Kubernetes: listed the pods of node {NODE}: 1"
FOLLOWING_ONE = f"Kubernetes: watching the pods of node {NODE}: 1"


class PatientAfterTheFirst(Backoff):
    """A short pause, and then none that a test would survive."""

    def pauses(self) -> Iterator[float]:
        """Two."""
        yield from (self.first_s, self.most_s)


@dataclass
class Known:
    """What the watch has made known last, and the watch."""

    pods: Mapping[str, Pod] = field(default_factory=dict)
    watch: PodWatch | None = None

    def know(self, pods: Mapping[str, Pod]) -> None:
        """Keep it."""
        self.pods = pods

    @property
    def condition(self) -> WatchCondition:
        """The watch's."""
        assert self.watch is not None
        return self.watch.condition

    def names(self) -> set[str]:
        """Those of all pods."""
        return {pod.name for pod in self.pods.values()}


@contextmanager
def watching(
    account: Account, backoff: Backoff = QUICK, clock: Callable[[], float] = time.monotonic
) -> Iterator[Known]:
    known = Known()
    pods = NodePods(api_connector(account.environ, account.directory), NODE)
    known.watch = PodWatch(pods, NODE, known.know, backoff, clock)
    known.watch.start()
    try:
        yield known
    finally:
        known.watch.close()


def is_in(known: Known, state: WatchState, reason: str = "") -> Callable[[], bool]:
    return lambda: known.condition.state is state and reason in known.condition.reason


# --- While all is well


def test_pods_are_known_when_it_has_begun_and_so_is_each_change(cluster: Cluster, account: Account) -> None:
    cluster.put(pod_document("first"))
    with watching(account) as known:
        assert known.names() == {"first"}
        cluster.put(pod_document("second", uid="2", ip=""))
        eventually(lambda: known.names() == {"first", "second"})
        cluster.put(pod_document("second", uid="2", ip="10.1.17.41", labels={"a": "b"}))
        eventually(lambda: known.pods["2"].ip == "10.1.17.41")
        assert known.pods["2"].labels == {"a": "b"}
        cluster.delete(UID)
        eventually(lambda: known.condition.pods == 1)
        assert known.condition == WatchCondition(WatchState.FOLLOWING, pods=1, lists=1)
    assert [("watch" in each, each["resourceVersion"]) for each in cluster.requests] == [(False, "0"), (True, "2")]


def test_after_a_break_it_goes_on_from_the_last_bookmark(cluster: Cluster, account: Account) -> None:
    cluster.put(pod_document("first"))
    with watching(account) as known:
        cluster.elsewhere()
        eventually(lambda: cluster.watchers)
        cluster.put(pod_document("seen", uid="2"))
        eventually(lambda: "seen" in known.names())
        cluster.break_off()
        cluster.put(pod_document("missed", uid="3"))
        eventually(lambda: "missed" in known.names())
        eventually(is_in(known, WatchState.FOLLOWING))
        assert (known.condition.lists, known.condition.failures) == (1, 1)
        assert cluster.requests[-1]["resourceVersion"] == "4"


def test_a_renewed_token_is_used(cluster: Cluster, account: Account) -> None:
    cluster.put(pod_document("first"))
    with watching(account) as known:
        eventually(lambda: cluster.watchers)
        cluster.tokens = {"second"}
        cluster.break_off()
        eventually(is_in(known, WatchState.FAILING, "HTTP status 401: Unauthorized"))
        account.renew("second\n")
        cluster.put(pod_document("second", uid="2"))
        eventually(lambda: "second" in known.names())


def test_it_follows_from_the_first_message_of_the_watch_on(
    cluster: Cluster, account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cluster.put(pod_document("first"))
    with watching(account) as known:
        eventually(lambda: cluster.watchers)
        assert known.names() == {"first"}
        assert known.condition == WatchCondition(WatchState.STARTING, pods=1, lists=1)
        assert caplog.messages == [LISTED_ONE]
        cluster.elsewhere()
        eventually(is_in(known, WatchState.FOLLOWING))
        eventually(lambda: caplog.messages == [LISTED_ONE, FOLLOWING_ONE])


# --- How a watch ends


def expired_in_the_watch(cluster: Cluster) -> None:
    cluster.forget()


def expired_at_its_beginning(cluster: Cluster) -> None:
    """The connection breaks in the middle of an object, and the version to go on from is forgotten meanwhile."""
    with cluster.lock:
        cluster.forget()
        cluster.break_off()


def refused(code: int, message: str) -> Callable[[Cluster], None]:
    """When the watch comes back after its connection has broken."""

    def end(cluster: Cluster) -> None:
        with cluster.lock:
            cluster.refusals.append(Refusal(code, message))
            cluster.break_off()

    return end


def failed_in_the_watch(code: int, message: str) -> Callable[[Cluster], None]:
    status = {"kind": "Status", "status": "Failure", "code": code, "message": message}
    line = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
    return lambda cluster: cluster.lines.append(line)


TOO_LARGE = "Timeout: Too large resource version: 8, current: 7"


@pytest.mark.parametrize("end", [expired_in_the_watch, expired_at_its_beginning])
def test_what_the_api_has_forgotten_is_listed_at_once(
    cluster: Cluster, account: Account, caplog: pytest.LogCaptureFixture, end: Callable[[Cluster], None]
) -> None:
    """Whatever the next pause would be, but for that after a broken connection; and nobody is warned."""
    caplog.set_level(logging.INFO)
    cluster.put(pod_document("first"))
    cluster.put(pod_document("second", uid="2"))
    with watching(account, PatientAfterTheFirst(first_s=0.01, most_s=60.0), clock := Clock()) as known:
        eventually(lambda: cluster.watchers)
        clock.now += 1
        with cluster.lock:
            cluster.change_unseen("2", pod_document("third", uid="3"))
            end(cluster)
        eventually(lambda: "third" in known.names())
        eventually(lambda: (known.condition.lists, known.condition.pods) == (2, 2))
        assert f"Kubernetes: listing the pods of node {NODE} again: too old resource version" in caplog.messages
        assert [line for line in caplog.messages if "unavailable" in line and "connection was lost" not in line] == []
        clock.now += DELETED_S
        cluster.put(pod_document("fourth", uid="4"))
        eventually(lambda: known.names() == {"first", "third", "fourth"})


@pytest.mark.parametrize(
    "end",
    [
        refused(504, TOO_LARGE),
        refused(500, "etcd"),
        refused(429, "too many"),
        failed_in_the_watch(500, "etcd"),
        failed_in_the_watch(504, TOO_LARGE),
        failed_in_the_watch(403, "pods is forbidden"),
    ],
    ids=["504", "500", "429", "ERROR 500", "ERROR 504", "ERROR 403"],
)
def test_after_anything_else_that_the_api_says_it_lists_with_back_off(
    cluster: Cluster, account: Account, caplog: pytest.LogCaptureFixture, end: Callable[[Cluster], None]
) -> None:
    caplog.set_level(logging.INFO)
    cluster.put(pod_document("first"))
    cluster.put(pod_document("second", uid="2"))
    with watching(account, Backoff(first_s=0.4, most_s=0.4), clock := Clock()) as known:
        eventually(lambda: cluster.watchers)
        clock.now += 1
        with cluster.lock:
            cluster.change_unseen("2", pod_document("third", uid="3"))
            end(cluster)
        began = time.monotonic()
        eventually(lambda: "third" in known.names())
        assert time.monotonic() - began >= 0.2
        eventually(lambda: (known.condition.lists, known.condition.pods) == (2, 2))
        assert known.condition.state is WatchState.FAILING
        warned = [line for line in caplog.messages if "connection was lost" not in line][1:]
        assert len(warned) == 1
        assert warned[0].startswith("Kubernetes API unavailable; keeping the last known pod names: HTTP status ")
        clock.now += DELETED_S
        cluster.put(pod_document("fourth", uid="4"))
        eventually(lambda: known.names() == {"first", "third", "fourth"})
        eventually(is_in(known, WatchState.FOLLOWING))
        eventually(lambda: caplog.messages[-1] == f"Kubernetes: watching the pods of node {NODE}: 3")


def test_a_list_that_fails_after_the_version_has_expired_is_tried_again(
    cluster: Cluster, account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.put(pod_document("first"))
    with watching(account, clock=(clock := Clock())) as known:
        eventually(lambda: cluster.watchers)
        clock.now += 1
        with cluster.lock:
            cluster.change_unseen(UID, pod_document("second", uid="2"))
            cluster.refusals.extend([Refusal(503, "not now")] * 3)
            cluster.forget()
        eventually(lambda: known.condition.lists == 2)
        assert "second" in known.names()
        assert (known.condition.failures, known.condition.pods) == (3, 1)
    assert len([line for line in caplog.messages if "HTTP status 503: not now" in line]) == 1


def test_an_api_that_forgets_all_that_it_lists_is_not_asked_without_a_pause(cluster: Cluster, account: Account) -> None:
    """Once at once, since it may have forgotten by right; not again."""
    expire = failed_in_the_watch(410, "Expired")
    cluster.put(pod_document("first"))
    with watching(account, Backoff(first_s=60, most_s=60), clock := Clock()) as known:
        eventually(lambda: cluster.watchers)
        clock.now += 1
        expire(cluster)
        eventually(lambda: known.condition.lists == 2 and cluster.watchers == 1)
        expire(cluster)
        eventually(is_in(known, WatchState.FAILING, "Expired"))
        assert known.condition.lists == 2


def test_a_watch_that_works_ends_the_back_off(cluster: Cluster, account: Account) -> None:
    cluster.put(pod_document("first"))
    with watching(account, PatientAfterTheFirst(first_s=0.01, most_s=60.0)) as known:
        for _ in range(3):
            cluster.elsewhere()
            eventually(is_in(known, WatchState.FOLLOWING))
            cluster.break_off()
            eventually(is_in(known, WatchState.FAILING))


def test_an_api_that_was_restored_is_listed_as_it_is(cluster: Cluster, account: Account) -> None:
    """Its versions are lower than what was seen: watches say nothing, and a list from there is refused."""
    cluster.put(pod_document("first"))
    with watching(account, clock=(clock := Clock())) as known:
        eventually(lambda: cluster.watchers)
        for _ in range(10):
            cluster.elsewhere()
        eventually(is_in(known, WatchState.FOLLOWING))
        with cluster.lock:
            cluster.change_unseen(UID, pod_document("second", uid="2"))
            cluster.restore(version=3)
            clock.now += 45 * 60
            cluster.break_off()
        eventually(lambda: "second" in known.names())
        cluster.put(pod_document("third", uid="3"))
        eventually(lambda: "third" in known.names())
        assert known.condition.lists == 2


def test_a_watch_that_is_silent_for_too_long_goes_on_by_another_connection(
    cluster: Cluster, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_WATCH_S", range(60, 61))
    monkeypatch.setattr(api, "_GRACE_S", 0.3 - 60)
    cluster.put(pod_document("first"))
    with watching(account) as known:
        eventually(is_in(known, WatchState.FAILING, "timed out"))
        cluster.put(pod_document("second", uid="2"))
        eventually(lambda: known.names() == {"first", "second"})
        assert known.condition.lists == 1
    assert len([each for each in cluster.requests if "watch" in each]) > 1


# --- While it is not


# Python 3.11 forgets to close a connection that is reset before its handshake (ssl.SSLSocket._create).
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_an_outage_changes_nothing_that_is_known_and_is_logged_once(
    cluster: Cluster,
    authority: trustme.CA,
    certificate: trustme.LeafCert,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    cluster.put(pod_document("first"))
    with serving(cluster, certificate) as port:
        known_for_good = Known()
        account = account_at(port, authority, tmp_path)
        pods = NodePods(api_connector(account.environ, account.directory), NODE)
        watch = known_for_good.watch = PodWatch(pods, NODE, known_for_good.know, QUICK)
        watch.start()
    try:
        eventually(is_in(known_for_good, WatchState.FAILING, "Connection refused"))
        failures = known_for_good.condition.failures
        eventually(lambda: known_for_good.condition.failures > failures + 3)
        assert known_for_good.names() == {"first"}
        with serving(cluster, certificate, port):
            cluster.put(pod_document("second", uid="2"))
            eventually(lambda: known_for_good.names() == {"first", "second"})
    finally:
        watch.close()
    lines = [record.getMessage() for record in caplog.records if "Connection refused" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("Kubernetes API unavailable; keeping the last known pod names: ")
    assert LISTED_ONE in caplog.messages


def test_without_the_right_it_says_which(cluster: Cluster, account: Account, caplog: pytest.LogCaptureFixture) -> None:
    refusal = Refusal(403, 'pods is forbidden: User "x" cannot list resource "pods"')
    cluster.refusals.extend([refusal] * 3)
    cluster.put(pod_document("first"))
    with watching(account) as known:
        eventually(known.names)
        assert known.condition.failures == 3
    (line,) = [each for each in caplog.messages if "403" in each]
    assert line == (
        "Kubernetes API unavailable; pods are named by their UID: HTTP status 403: pods is forbidden: "
        'User "x" cannot list resource "pods"; allow the service account of the agent to list and watch pods'
    )


def test_it_comes_back_when_it_is_asked_to(cluster: Cluster, account: Account) -> None:
    cluster.refusals.append(Refusal(429, "too many requests", {"Retry-After": "1"}))
    cluster.put(pod_document("first"))
    began = time.monotonic()
    with watching(account) as known:
        assert known.condition.state is WatchState.FAILING
        eventually(known.names)
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"what?\n", "cannot decode a message of the watch"),
        (b"[]\n", "cannot decode a message of the watch"),
        (b'{"type": "ADDED", "object": {}}\n', "the watch reports an object that is not a pod"),
        (b'{"type": "ERROR", "object": {"code": 500, "message": "etcd"}}\n', "HTTP status 500: etcd"),
        (b'{"type": "ERROR", "object": {"code": 1e999}}\n', "cannot decode a message of the watch"),
        (_DEEP + b"\n", "cannot decode a message of the watch"),
    ],
    ids=["no JSON", "no message", "no pod", "an error", "an infinite code", "deep nesting"],
)
def test_nonsense_is_logged_and_survived(
    cluster: Cluster, account: Account, caplog: pytest.LogCaptureFixture, line: bytes, reason: str
) -> None:
    cluster.put(pod_document("first"))
    with watching(account) as known:
        cluster.lines.append(line)
        eventually(lambda: any(reason in line for line in caplog.messages))
        cluster.put(pod_document("second", uid="2"))
        eventually(lambda: known.names() == {"first", "second"})


@pytest.mark.parametrize(
    ("code", "reason"),
    [(200, "the answer is not a list of pods"), (500, "HTTP status 500: [[[")],
    ids=["list", "error"],
)
def test_an_answer_nested_too_deeply_is_logged_and_survived(
    cluster: Cluster, account: Account, caplog: pytest.LogCaptureFixture, code: int, reason: str
) -> None:
    cluster.refusals.append(Refusal(code, "", content=_DEEP))
    cluster.put(pod_document("first"))
    with watching(account) as known:
        eventually(lambda: known.names() == {"first"})
    assert any(reason in line for line in caplog.messages)


def test_a_stranger_is_not_trusted(cluster: Cluster, certificate: trustme.LeafCert, tmp_path: Path) -> None:
    """Nor is the token shown to it."""
    with serving(cluster, certificate) as port, watching(account_at(port, trustme.CA(), tmp_path)) as known:
        assert known.condition.state is WatchState.FAILING
        assert "CERTIFICATE_VERIFY_FAILED" in known.condition.reason
    assert not cluster.requests


@pytest.mark.parametrize("token", [None, "", "fir\nst"])
def test_an_account_that_is_of_no_use_is_told_without_its_token(account: Account, token: str | None) -> None:
    if token is None:
        (account.directory / "token").unlink()
    else:
        account.renew(token)
    with watching(account) as known:
        assert known.condition.state is WatchState.FAILING
        assert "fir" not in known.condition.reason.replace(str(account.directory), "")


def test_a_node_without_a_pod_is_suspected_of_another_name(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    with watching(account):
        assert any("set NODE_NAME to the node's name in Kubernetes" in line for line in caplog.messages)


# --- The beginning and the end


def test_it_ends_at_once_while_nothing_comes(cluster: Cluster, account: Account) -> None:
    with watching(account) as known:
        eventually(lambda: cluster.watchers)
        assert known.watch is not None
        began = time.monotonic()
        known.watch.close()
        assert time.monotonic() - began < 0.4
    assert "pods" not in [thread.name for thread in threading.enumerate()]


def test_where_there_is_no_kubernetes_nothing_runs_and_it_says_so() -> None:
    watch = follow_pods({}, NODE, lambda _: None)
    assert watch.condition.state is WatchState.OFF
    assert "KUBECONFIG" in watch.condition.reason
    watch.close()


def test_outside_of_a_cluster_a_file_leads_to_it(cluster: Cluster, account: Account, tmp_path: Path) -> None:
    cluster.put(pod_document("first"))
    host, port = account.environ["KUBERNETES_SERVICE_HOST"], account.environ["KUBERNETES_SERVICE_PORT"]
    file = tmp_path / "kubeconfig"
    it = {"server": f"https://{host}:{port}", "certificate-authority": str(account.directory / "ca.crt")}
    contents = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "it", "user": "me"}}],
        "clusters": [{"name": "it", "cluster": it}],
        "users": [{"name": "me", "user": {"token": "first"}}],
    }
    file.write_text(json.dumps(contents))
    with watching(replace(account, environ={"KUBECONFIG": str(file)})) as known:
        assert known.names() == {"first"}
    no_base64 = contents | {"clusters": [{"name": "it", "cluster": it | {"certificate-authority-data": "A"}}]}
    for wrong in ("{", "[]", "null", "7", '{"clusters": 7}', json.dumps(no_base64)):
        file.write_text(wrong)
        with watching(replace(account, environ={"KUBECONFIG": str(file)})) as known:
            assert known.condition.reason.startswith("cannot use the file that KUBECONFIG names: "), wrong


def test_a_kubeconfig_says_which_package_it_needs(
    cluster: Cluster, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an installation without the extra, where a pod needs it for nothing."""
    cluster.put(pod_document("first"))
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    with watching(replace(account, environ={"KUBECONFIG": "/any"})) as known:
        reason = known.condition.reason
    needs, _, remedy = reason.partition("; install it: ")
    assert needs.startswith("KUBECONFIG needs the Python package kubernetes (")
    assert remedy == f"{sys.executable} -m pip install kubernetes"
    with watching(account) as known:
        assert known.names() == {"first"}
