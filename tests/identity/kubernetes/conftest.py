"""A cluster, its authority, and the service account of a pod in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.identity.kubernetes.server import Cluster, serving


@dataclass(frozen=True)
class Account:
    """What Kubernetes gives to a pod: files, and variables that say where the API is."""

    directory: Path
    environ: Mapping[str, str]

    def renew(self, token: str) -> None:
        """Write another token, as the kubelet does."""
        (self.directory / "token").write_text(token)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def account(
    cluster: Cluster, authority: trustme.CA, certificate: trustme.LeafCert, tmp_path: Path
) -> Iterator[Account]:
    """Of a cluster that serves."""
    with serving(cluster, certificate) as port:
        yield account_at(port, authority, tmp_path)


def account_at(port: int, authority: trustme.CA, directory: Path) -> Account:
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
    authority.cert_pem.write_to_path(str(directory / "ca.crt"))
    account = Account(directory, environ)
    account.renew("first")
    return account
