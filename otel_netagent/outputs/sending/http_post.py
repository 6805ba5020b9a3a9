"""One HTTP POST and its answer, within a time limit: shared by all that send over HTTP.

It uses urllib3 alone: `requests`, a layer above it, would need 4 MB more memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import certifi
import urllib3
from urllib3.exceptions import HTTPError

from otel_netagent import __version__
from otel_netagent.outputs.sending.proxies import proxy_to
from otel_netagent.outputs.sending.tls import Renewal, Tls
from otel_netagent.root_cause import root_cause

_MOST_ANSWER_BYTES: Final = 16 << 10
"""An answer is a few bytes, or an error message."""


class PostFailed(Exception):
    """There was no answer; the text is one line that says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. `content` is cut after 16 KiB; `retry_after_s` is the pause that the receiver asks for."""

    status: int
    reason: str
    content_type: str
    content: bytes
    retry_after_s: float | None

    @property
    def complaint(self) -> str:
        """The beginning of the content as one line, or the status text if there is no content."""
        return " ".join(self.content[:200].decode(errors="replace").split()) or self.reason


class Post:
    """Posts to one URL on a connection that is kept open, until certificates are renewed."""

    def __init__(self, url: str, headers: Mapping[str, str], tls: Tls | None, timeout_s: float) -> None:
        """Does not connect before `send`."""
        self._url = url
        self._headers = {**headers, "User-Agent": f"otel-netagent/{__version__}"}
        self._timeout_s = timeout_s
        self._tls = tls
        self._renewal = Renewal(tls)
        self._pool = _pool(url, tls)

    def send(self, body: bytes) -> Answer:
        """Send once. Raises PostFailed."""
        if self._renewal.happened():
            self._pool.clear()
            self._pool = _pool(self._url, self._tls)
        deadline = time.monotonic() + self._timeout_s
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers=self._headers,
                timeout=self._timeout_s,
                retries=False,
                redirect=False,  # a redirected POST would become a GET
                preload_content=False,
            )
            with response:
                content = _content(response, deadline)
        except (HTTPError, OSError) as error:
            raise PostFailed(root_cause(error)) from error
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        return Answer(response.status, response.reason or "", content_type, content, _retry_after_s(response))

    def close(self) -> None:
        """Close the idle connection; a request in progress continues until its timeout."""
        self._pool.clear()


def _pool(url: str, tls: Tls | None) -> urllib3.PoolManager:
    """A pool of connections with these TLS files, through a proxy if one is set. The files are read on connecting."""
    tls = tls or Tls()
    ca = tls.ca or os.environ.get("REQUESTS_CA_BUNDLE") or certifi.where()
    proxy = proxy_to(url)
    if proxy is None:
        return urllib3.PoolManager(ca_certs=ca, cert_file=tls.client_certificate, key_file=tls.client_key)
    return urllib3.ProxyManager(
        proxy,
        proxy_headers=urllib3.make_headers(proxy_basic_auth=urllib3.util.parse_url(proxy).auth),
        ca_certs=ca,
        cert_file=tls.client_certificate,
        key_file=tls.client_key,
    )


def _content(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """The answer's body, or its beginning. Raises TimeoutError after `deadline` (monotonic time)."""
    content = bytearray()
    # What has arrived, each time: `read` waits for all of it, and a socket's timeout begins again with each byte.
    while part := response.read1(_MOST_ANSWER_BYTES - len(content)):
        content += part
        if time.monotonic() > deadline:
            raise TimeoutError("the answer takes too long")
    return bytes(content)


def _retry_after_s(response: urllib3.BaseHTTPResponse) -> float | None:
    """The Retry-After header (RFC 9110, section 10.2.3): seconds, or a date."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value).astimezone(UTC)
    except (ValueError, OverflowError):  # the last hours of the year 9999 may be in 10000 by UTC
        return None
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
