"""The address of Loki, and the headers that the environment adds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_PORT: Final = 3100
"""Loki's default port, for an address without a scheme and without a port."""

_SERVICE: Final = "grafana-loki"
"""The Service that an empty address stands for, in the agent's own namespace; the original names it so."""

OWN_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""The file in which a pod finds its own namespace."""

_PATH: Final = "/loki/api/v1/push"

_HOST: Final = re.compile(r"[\w.-]+|[0-9a-f:.]+", re.IGNORECASE)


_PRINTABLE: Final = re.compile(r"[ -~]*")


class LokiAddressError(ValueError):
    """The settings for Loki cannot be used; the message is one line that says why and what to do."""


def own_headers(environ: Mapping[str, str]) -> dict[str, str]:
    """Headers from LOKI_AUTHORIZATION ("Basic ..." or "Bearer ...") and LOKI_TENANT.

    Raises LokiAddressError for a value that a header must not contain (RFC 9110, 5.5).
    """
    headers = {}
    for name, variable in (("Authorization", "LOKI_AUTHORIZATION"), ("X-Scope-OrgID", "LOKI_TENANT")):
        value = environ.get(variable, "").strip()
        if not _PRINTABLE.fullmatch(value):
            raise LokiAddressError(
                f"{variable} contains a line break or another character that a header must not contain; "
                "base64 -w0 writes no line break"
            )
        if value:
            headers[name] = value
    return headers


def push_url(address: str, own_namespace: Path = OWN_NAMESPACE) -> str:
    """The URL to push to. Raises LokiAddressError.

    An address is `host`, `host:port`, or an http or https URL, whose path is a prefix of the API's path. An empty
    address means the Service `grafana-loki` in the agent's namespace, by its DNS name in the cluster.
    """
    if not address:
        return f"http://{_SERVICE}.{_namespace(own_namespace)}.svc:{_PORT}{_PATH}"
    try:
        url = urlsplit(address if "://" in address else f"http://{address}")
        port = url.port  # raises if the port is not a number
    except ValueError:
        raise LokiAddressError(_allowed(address)) from None
    if url.username is not None:
        raise LokiAddressError("credentials do not belong in an address; set LOKI_AUTHORIZATION in the environment")
    usable = url.scheme in {"http", "https"} and _HOST.fullmatch(url.hostname or "") and port != 0
    if not usable or url.query or url.fragment:
        raise LokiAddressError(_allowed(address))
    place = url.netloc if port or "://" in address else f"{url.netloc}:{_PORT}"
    return f"{url.scheme}://{place}{url.path.rstrip('/')}{_PATH}"


def _allowed(address: str) -> str:
    return f"{address} is not an address of Loki; write loki, loki:{_PORT} or https://loki.example/path"


def _namespace(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise LokiAddressError(
            f"event_config.loki_address is empty, which means the Service {_SERVICE} in the agent's own namespace, "
            f"but the agent does not run in a pod ({file} cannot be read); set it to Loki's address, as loki:{_PORT}"
        ) from None
