"""Connections to the API: with the service account of the pod, or with the file that KUBECONFIG names.

Of a cluster there are an address, a token and a certificate to know, and urllib3 needs no more. The `kubernetes`
package, which sends by urllib3 too, takes 128 MB of disk, and would take 10 MB of memory on every node: it is an extra,
loaded for what it alone can do, to read that file.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import urllib3
from urllib3.connection import HTTPConnection

from otel_netagent.identity.kubernetes.pod_store import ApiFailed
from otel_netagent.root_cause import root_cause

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a pod's token and the certificate of the API (`token`, `ca.crt`)."""

_KEEPALIVE: Final = (
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
)
"""A watch is silent for minutes; a dead peer must be noticed before. The times are client-go's."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A pool that trusts the API's certificate, the API's address, and headers that authenticate the agent."""

    pool: urllib3.PoolManager
    address: str
    headers: Mapping[str, str] = field(repr=False)


Connect: TypeAlias = Callable[[], Connection]
"""Returns a new connection with the current token and certificates. Raises ApiFailed."""


def api_connector(environ: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> Connect:
    """For the service account in a cluster, else for the file that KUBECONFIG names; one must be set."""
    if host := environ.get("KUBERNETES_SERVICE_HOST"):
        address = f"[{host}]" if ":" in host else host
        return lambda: _in_cluster(f"https://{address}:{environ.get('KUBERNETES_SERVICE_PORT', '443')}", account)
    return lambda: _by_file(environ["KUBECONFIG"])


def _in_cluster(address: str, account: Path) -> Connection:
    """As in "Accessing the Kubernetes API from a Pod". No proxy is used."""
    try:
        token = (account / "token").read_text(encoding="ascii").strip()
        pool = urllib3.PoolManager(
            ca_certs=str((account / "ca.crt").resolve(strict=True)), socket_options=_KEEPALIVE, retries=False
        )
    except (OSError, UnicodeDecodeError) as error:
        raise ApiFailed(f"cannot use the service account of this pod: {error}") from error
    if not token or not token.isprintable():
        raise ApiFailed(f"cannot use the service account of this pod: {account / 'token'} contains no token")
    return Connection(pool, address, {"Authorization": f"Bearer {token}"})


def _by_file(file: str) -> Connection:
    try:
        from kubernetes.client import ApiClient, Configuration  # noqa: PLC0415
        from kubernetes.config import ConfigException, load_kube_config  # noqa: PLC0415
    except ImportError as error:
        raise ApiFailed(
            f"KUBECONFIG needs the Python package kubernetes ({error}); install it: "
            f"{sys.executable} -m pip install kubernetes"
        ) from error
    from yaml import YAMLError  # noqa: PLC0415

    configuration = Configuration()
    try:
        load_kube_config(file, client_configuration=configuration, persist_config=False)
    except (ConfigException, OSError, YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        # The last four are how it takes a file that is YAML, but no such file, or holds what is no base64.
        raise ApiFailed(f"cannot use the file that KUBECONFIG names: {root_cause(error)}") from error
    configuration.socket_options = _KEEPALIVE
    configuration.retries = False
    client = ApiClient(configuration)
    headers: dict[str, str] = {}
    client.update_params_for_auth(headers, [], ["BearerToken"], "", "GET", None)
    return Connection(client.rest_client.pool_manager, str(configuration.host), headers)
