"""A real API server and its database, on loopback, with nothing behind them: no node, no kubelet, no controller."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lab.waiting import eventually
from tests.agent.command import Program
from tests.agent.running import free_port
from tests.identity.kubernetes.pods import NODE
from tools.stack.programs import ControlPlane

_HOST = "127.0.0.1"
_START_S = 120.0
ADMIN, AGENT = "token-of-the-admin", "token-of-the-agent"


@dataclass(frozen=True)
class Api:
    """The API as its administrator uses it."""

    port: int
    directory: Path
    context: ssl.SSLContext

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, kind: str = "json") -> Any:  # noqa: ANN401 - JSON
        """The answer to a request. Raises urllib.error.HTTPError."""
        return json.loads(self._answer(method, path, json.dumps(body).encode() if body is not None else None, kind))

    def create_pod(self, name: str, labels: Mapping[str, str], **metadata: object) -> str:
        """A pod that is bound to the node of the tests; its UID."""
        document = {
            "metadata": {"name": name, "labels": labels, **metadata},
            "spec": {
                "nodeName": NODE,
                "containers": [{"name": "main", "image": "none"}],
                "automountServiceAccountToken": False,
            },
        }
        created = self.call("POST", "/api/v1/namespaces/default/pods", document)
        return str(created["metadata"]["uid"])

    def change_pod(self, name: str, part: str = "", **changes: object) -> None:
        """Change a pod, or a `part` of it ("/status")."""
        self.call("PATCH", f"/api/v1/namespaces/default/pods/{name}{part}", changes, "merge-patch+json")

    def delete_pod(self, name: str) -> None:
        """Delete a pod at once, as nobody is there who would end it."""
        self.call("DELETE", f"/api/v1/namespaces/default/pods/{name}", {"gracePeriodSeconds": 0})

    def grant(self) -> None:
        """Give the agent the right that its documentation asks for."""
        group = "/apis/rbac.authorization.k8s.io/v1"
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
        self.call("POST", f"{group}/clusterroles", {"metadata": {"name": "agent"}, "rules": [rule]})
        binding = {
            "metadata": {"name": "agent"},
            "subjects": [{"kind": "User", "name": "agent", "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"kind": "ClusterRole", "name": "agent", "apiGroup": "rbac.authorization.k8s.io"},
        }
        self.call("POST", f"{group}/clusterrolebindings", binding)

    def is_ready(self) -> bool:
        """Whether it serves, knows everybody's rights, and has what it makes of itself at the beginning."""
        try:
            self._answer("GET", "/readyz")
            self._answer("GET", "/api/v1/namespaces/default")
        except OSError:
            return False
        return True

    def _answer(self, method: str, path: str, body: bytes | None = None, kind: str = "json") -> bytes:
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": f"application/{kind}"}
        url = f"https://{_HOST}:{self.port}{path}"
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, context=self.context, timeout=30) as answer:  # noqa: S310
            content: bytes = answer.read()
        return content


@contextmanager
def database(programs: ControlPlane, directory: Path) -> Iterator[str]:
    """Its address."""
    client, peer = (f"http://{_HOST}:{free_port()}" for _ in range(2))
    argv = [str(programs.etcd), f"--data-dir={directory / 'etcd'}", f"--listen-client-urls={client}"]
    argv += [f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}", "--unsafe-no-fsync"]
    argv += [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
    with Program(argv):
        yield client


@contextmanager
def api_server(programs: ControlPlane, directory: Path, etcd: str, authority: trustme.CA, port: int) -> Iterator[Api]:
    """An API server that is ready. With the same database it is the same cluster."""
    certificate = authority.issue_cert(_HOST)
    certificate.private_key_and_cert_chain_pem.write_to_path(str(directory / "serving.pem"))
    authority.cert_pem.write_to_path(str(directory / "ca.crt"))
    (directory / "tokens.csv").write_text(f"{ADMIN},admin,1,system:masters\n{AGENT},agent,2\n")
    (directory / "accounts.pem").write_bytes(_key())
    argv = [
        str(programs.apiserver),
        f"--etcd-servers={etcd}",
        f"--bind-address={_HOST}",
        f"--secure-port={port}",
        f"--cert-dir={directory}",
        f"--tls-cert-file={directory / 'serving.pem'}",
        f"--tls-private-key-file={directory / 'serving.pem'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        f"--service-account-key-file={directory / 'accounts.pem'}",
        f"--service-account-signing-key-file={directory / 'accounts.pem'}",
        f"--service-account-issuer=https://{_HOST}:{port}",
        "--service-cluster-ip-range=10.96.0.0/24",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
    ]
    with Program(argv):
        api = Api(port, directory, ssl.create_default_context(cafile=str(directory / "ca.crt")))
        eventually(api.is_ready, _START_S)
        yield api


def _key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
