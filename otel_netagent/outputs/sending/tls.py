"""The PEM files of a TLS connection, and their renewal."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]
"""For each file: inode, time of modification in nanoseconds, and size; None where there is no file."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of a TLS connection; without `ca` the library's own trust store is used."""

    ca: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None

    def check(self) -> None:
        """Load the files as a connection would. Raises OSError (ssl.SSLError is one) if they cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.ca is not None:
            context.load_verify_locations(self.ca)
        if self.client_certificate is not None:
            # With an empty password, an encrypted key fails instead of asking on the terminal.
            context.load_cert_chain(self.client_certificate, self.client_key, password="")

    def stamp(self) -> Stamp:
        """A value that changes when a file is written or replaced. Links are followed: Kubernetes swaps them."""
        return tuple(_stamp(path) for path in (self.ca, self.client_certificate, self.client_key))


class Renewal:
    """Detects that certificates were renewed completely."""

    def __init__(self, tls: Tls | None) -> None:
        """Compare with the current files; None for a connection without TLS."""
        self._tls = tls
        self._stamp = tls.stamp() if tls else ()

    def happened(self) -> bool:
        """Whether there are new, usable files since the last True.

        A certificate whose key is not written yet does not count: the current connection stays.
        """
        if self._tls is None or (stamp := self._tls.stamp()) == self._stamp:
            return False
        try:
            self._tls.check()
        except OSError:
            return False
        self._stamp = stamp
        return True


def _stamp(path: str | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
