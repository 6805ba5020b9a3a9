"""A private certificate authority, a server and a client."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

from otel_netagent.outputs.sending.tls import Tls


@dataclass(frozen=True)
class Pki:
    """Files of a private authority, of a server and of a client that it vouches for."""

    ca: str
    server: trustme.LeafCert
    authority: trustme.CA
    client_certificate: str
    client_key: str

    @property
    def client(self) -> Tls:
        """What the client needs to prove who it is."""
        return Tls(self.ca, self.client_certificate, self.client_key)


def make_pki(directory: Path) -> Pki:
    authority = trustme.CA()
    client = authority.issue_cert("client")
    pki = Pki(
        str(directory / "ca"),
        authority.issue_cert("127.0.0.1", "localhost"),
        authority,
        str(directory / "cert"),
        str(directory / "key"),
    )
    authority.cert_pem.write_to_path(pki.ca)
    client.cert_chain_pems[0].write_to_path(pki.client_certificate)
    client.private_key_pem.write_to_path(pki.client_key)
    return pki
