"""One HTTP POST and its answer, within a time: what all have in common that send by HTTP."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import requests
from requests.utils import get_environ_proxies

from otel_netagent import __version__
from otel_netagent.telemetry.tls import Renewal, Tls

_MOST_ANSWER_BYTES: Final = 16 << 10
"""An answer is a few bytes, or a complaint."""


class PostFailed(Exception):
    """There was no answer; as text, one line that says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `content` is cut off after 16 KiB, `retry_after_s` is what the receiver asks for."""

    status: int
    reason: str
    content_type: str
    content: bytes
    retry_after_s: float | None

    @property
    def complaint(self) -> str:
        """The beginning of the content as one line, or what the status means where there is none."""
        return " ".join(self.content[:200].decode(errors="replace").split()) or self.reason


def session_to(url: str, tls: Tls) -> requests.Session:
    """A session with these files; nothing is read before a connection is made."""
    session = requests.Session()
    if tls.ca is not None:
        session.verify = tls.ca
        # Else a bundle that the environment names (REQUESTS_CA_BUNDLE) would go before it.
        session.trust_env = False
        session.proxies.update(get_environ_proxies(url, no_proxy=None))
    if tls.client_certificate and tls.client_key:
        session.cert = (tls.client_certificate, tls.client_key)
    return session


class Post:
    """Posts to one URL on a connection that is kept open, until certificates are renewed."""

    def __init__(self, url: str, headers: Mapping[str, str], tls: Tls | None, timeout_s: float) -> None:
        """Nothing is connected before `send`."""
        self._url = url
        self._headers = {**headers, "User-Agent": f"otel-netagent/{__version__}"}
        self._timeout_s = timeout_s
        self._tls = tls or Tls()
        self._renewal = Renewal(tls)
        self._session = self._new_session()

    def send(self, body: bytes) -> Answer:
        """Send once. Raises PostFailed."""
        if self._renewal.happened():
            self._session.close()
            self._session = self._new_session()
        deadline = time.monotonic() + self._timeout_s
        try:
            with self._session.post(
                self._url,
                data=body,
                timeout=self._timeout_s,
                allow_redirects=False,  # a redirected POST would become a GET
                stream=True,
            ) as response:
                content = _content(response, deadline)
        except requests.RequestException as error:
            raise PostFailed(_root_cause(error)) from error
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        return Answer(response.status_code, response.reason, content_type, content, _retry_after_s(response))

    def close(self) -> None:
        """Close the idle connection; a request under way goes on until its timeout."""
        self._session.close()

    def _new_session(self) -> requests.Session:
        session = session_to(self._url, self._tls)
        session.headers.update(self._headers)
        return session


def _content(response: requests.Response, deadline: float) -> bytes:
    """The answer's body, or its beginning. Raises requests.Timeout when it takes longer than until then (monotonic)."""
    content = bytearray()
    # Byte by byte, since a larger read waits for all of it, and the timeout of a socket begins anew with each byte.
    for byte in response.iter_content(1):
        content += byte
        if time.monotonic() > deadline:
            raise requests.Timeout("the answer takes too long")
        if len(content) == _MOST_ANSWER_BYTES:
            break
    return bytes(content)


def _retry_after_s(response: requests.Response) -> float | None:
    """The Retry-After header (RFC 9110, section 10.2.3): seconds, or a date."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _root_cause(error: BaseException) -> str:
    """The operating system's or TLS's own words, which `requests` wraps several times over."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return str(error) or type(error).__name__
