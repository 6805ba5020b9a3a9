"""The watch against a real API server: what the strict server of the other tests says is what Kubernetes does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme

from lab.waiting import eventually
from otel_netagent.identity.kubernetes.api import NodePods
from otel_netagent.identity.kubernetes.connection import api_connector
from otel_netagent.identity.kubernetes.objects import pod_of
from otel_netagent.identity.kubernetes.pod_store import VersionGone, WatchEvent
from otel_netagent.identity.kubernetes.watch_condition import WatchState
from otel_netagent.identity.pod import Workload
from tests.agent.running import free_port
from tests.identity.kubernetes.conftest import Account, account_at
from tests.identity.kubernetes.control_plane import AGENT, Api, api_server, database
from tests.identity.kubernetes.pods import NODE, owned_by
from tests.identity.kubernetes.test_watch import is_in, watching
from tools.stack.programs import ControlPlane, provide_control_plane

pytestmark = pytest.mark.apiserver

_PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def programs() -> ControlPlane:
    """Built at the first time, which takes minutes."""
    return provide_control_plane(print)


class Plane:
    """A control plane whose API server can be ended and started again at the same port."""

    def __init__(self, programs: ControlPlane, directory: Path, authority: trustme.CA, etcd: str) -> None:
        """Nothing runs but the database."""
        self.port = port = free_port()
        self._start: Callable[[], AbstractContextManager[Api]] = lambda: api_server(
            programs, directory, etcd, authority, port
        )
        self._running = ExitStack()
        self.api: Api

    def start(self) -> None:
        """Start the API server, and wait until it is ready."""
        self.api = self._running.enter_context(self._start())

    def kill(self) -> None:
        """End it without a word."""
        self._running.close()


@pytest.fixture(scope="module")
def plane(programs: ControlPlane, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """One for all tests of this module: it takes ten seconds to start."""
    directory = tmp_path_factory.mktemp("control-plane")
    with database(programs, directory) as etcd:
        plane = Plane(programs, directory, authority, etcd)
        plane.start()
        plane.api.grant()
        try:
            yield plane
        finally:
            plane.kill()


@pytest.fixture
def account(plane: Plane, authority: trustme.CA, tmp_path: Path) -> Account:
    """The agent's, which may get, list and watch pods and nothing else."""
    account = account_at(plane.port, authority, tmp_path)
    account.renew(AGENT)
    return account


@contextmanager
def pod(plane: Plane, name: str, **metadata: object) -> Iterator[str]:
    """A pod of the node, deleted at the end; its UID."""
    uid = plane.api.create_pod(name, {"app": "web", "pod-template-hash": "7d4b9c5f6"}, **metadata)
    try:
        yield uid
    finally:
        plane.api.delete_pod(name)


def comes(condition: Callable[[], object]) -> None:
    eventually(condition, _PATIENCE_S)


def test_pods_are_listed_and_watched(plane: Plane, account: Account) -> None:
    owner = owned_by("ReplicaSet", "web-7d4b9c5f6")
    with pod(plane, "first", ownerReferences=owner) as uid, watching(account) as known:
        assert (known.pods[uid].name, known.pods[uid].namespace) == ("first", "default")
        assert known.pods[uid].workload == Workload("Deployment", "web")
        plane.api.change_pod("first", metadata={"labels": {"app": "shop", "tier": "front"}})
        comes(lambda: known.pods[uid].labels == {"app": "shop", "tier": "front", "pod-template-hash": "7d4b9c5f6"})
        assert known.condition.state is WatchState.FOLLOWING
        plane.api.change_pod("first", "/status", status={"podIP": "10.1.17.40", "podIPs": [{"ip": "10.1.17.40"}]})
        comes(lambda: known.pods[uid].ip == "10.1.17.40")
        with pod(plane, "second") as other:
            comes(lambda: other in known.pods)
            comes(lambda: known.condition.pods == 2)
        comes(lambda: known.condition.pods == 1)
        assert (known.condition.lists, known.condition.failures) == (1, 0)


def test_pods_of_other_nodes_are_not_told(plane: Plane, account: Account) -> None:
    with pod(plane, "here"):
        connect = api_connector(account.environ, account.directory)
        assert [pod_of(each).name for each in NodePods(connect, NODE).list("0").pods] == ["here"]
        assert NodePods(connect, "elsewhere").list("").pods == ()


def test_a_version_that_is_too_old_is_gone(plane: Plane, account: Account) -> None:
    """An API server that is started remembers nothing of what was before."""
    connect = api_connector(account.environ, account.directory)
    version = NodePods(connect, NODE).list("").version
    with pod(plane, "first"):
        plane.kill()
        plane.start()
        with pytest.raises(VersionGone, match="too old resource version"):
            next_event(NodePods(connect, NODE), version)


def next_event(pods: NodePods, version: str) -> WatchEvent:
    """The first after this version."""
    with pods.watch(version) as events:
        return next(events)


def test_an_api_server_that_is_started_again(plane: Plane, account: Account) -> None:
    """What changed right before and after is known, with nothing lost in between."""
    with pod(plane, "first") as uid, watching(account) as known:
        plane.kill()
        comes(is_in(known, WatchState.FAILING))
        assert known.pods[uid].name == "first"
        plane.start()
        with pod(plane, "second") as other:
            comes(lambda: other in known.pods)
        comes(lambda: known.condition.pods == 1)
        comes(is_in(known, WatchState.FOLLOWING))


def test_a_token_that_is_renewed(account: Account) -> None:
    account.renew("stranger")
    with watching(account) as known:
        assert known.condition.reason == "HTTP status 401: Unauthorized"
        account.renew(AGENT)
        comes(lambda: known.condition.lists)


def test_without_the_right_it_is_forbidden(plane: Plane, account: Account) -> None:
    group = "/apis/rbac.authorization.k8s.io/v1"
    plane.api.call("DELETE", f"{group}/clusterrolebindings/agent")
    plane.api.call("DELETE", f"{group}/clusterroles/agent")
    with watching(account) as known:
        comes(is_in(known, WatchState.FAILING, 'pods is forbidden: User "agent" cannot list resource "pods"'))
        plane.api.grant()
        comes(lambda: known.condition.lists)
