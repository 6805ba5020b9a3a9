"""Certificates that are renewed while the agent runs, against real servers that know only the new ones."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from otel_netagent.outputs.otlp.connect import connect
from otel_netagent.outputs.otlp.environment import Destination
from otel_netagent.outputs.sending.outcome import Accepted
from otel_netagent.outputs.sending.tls import Renewal, Tls
from tests.outputs.otlp.pki import Pki, make_pki
from tests.outputs.otlp.receivers import grpc_receiver, http_receiver
from tests.outputs.otlp.sending import METRICS, grpc_destination, http_destination, reason_to_retry

SecureReceiver = Callable[[Pki, int], AbstractContextManager[Destination]]


@contextmanager
def secure_grpc(pki: Pki, port: int = 0) -> Iterator[Destination]:
    pair = (pki.server.private_key_pem.bytes(), pki.server.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_server_credentials([pair], pki.authority.cert_pem.bytes(), require_client_auth=True)
    with grpc_receiver(port=port, credentials=credentials) as receiver:
        yield grpc_destination(receiver.port)


@contextmanager
def secure_http(pki: Pki, port: int = 0) -> Iterator[Destination]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pki.server.configure_cert(context)
    pki.authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with http_receiver(port=port, tls=context) as receiver:
        yield replace(http_destination(receiver.port), address=f"https://127.0.0.1:{receiver.port}/v1/metrics")


def port_of(destination: Destination) -> int:
    return int(destination.address.removesuffix("/v1/metrics").rpartition(":")[2])


def install(pki: Pki, tls: Tls) -> None:
    """Renew the files of a connection, each at once, as those do who renew certificates."""
    renewed = (pki.ca, pki.client_certificate, pki.client_key)
    for new, old in zip(renewed, (tls.ca, tls.client_certificate, tls.client_key), strict=True):
        assert old is not None
        beside = Path(old).with_suffix(".new")
        beside.write_bytes(Path(new).read_bytes())
        beside.rename(old)


@pytest.fixture
def generations(tmp_path: Path) -> tuple[Pki, Pki]:
    """Two authorities that know nothing of each other, each with a server and a client."""
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made.append(make_pki(tmp_path / name))
    return made[0], made[1]


@pytest.fixture
def files(tmp_path: Path) -> Tls:
    return Tls(*(str(tmp_path / name) for name in ("ca.pem", "tls.crt", "tls.key")))


@pytest.mark.parametrize("receiver", [secure_grpc, secure_http])
def test_renewed_certificates_are_used_without_a_restart(
    receiver: SecureReceiver, generations: tuple[Pki, Pki], files: Tls
) -> None:
    first, second = generations
    install(first, files)
    with receiver(first, 0) as destination:
        port = port_of(destination)
        transport = connect(replace(destination, tls=files))
        assert transport.send(METRICS) == Accepted()
    with receiver(second, port):
        assert reason_to_retry(transport.send(METRICS))
        install(second, files)
        assert transport.send(METRICS) == Accepted()
    transport.close()


@pytest.mark.parametrize("receiver", [secure_grpc, secure_http])
def test_renewal_that_is_half_done_does_not_disturb(
    receiver: SecureReceiver, generations: tuple[Pki, Pki], files: Tls
) -> None:
    first, second = generations
    install(first, files)
    with receiver(first, 0) as destination:
        transport = connect(replace(destination, tls=files))
        assert transport.send(METRICS) == Accepted()
        Path(str(files.client_certificate)).write_bytes(Path(second.client_certificate).read_bytes())
        assert transport.send(METRICS) == Accepted()
        transport.close()


def test_secret_of_kubernetes_is_seen_to_change_each_time(generations: tuple[Pki, Pki], tmp_path: Path) -> None:
    """A mounted Secret: links through `..data`, which is swapped for another directory."""
    directory = tmp_path / "mounted"
    directory.mkdir()
    names = ("ca", "cert", "key")
    for name in names:
        (directory / name).symlink_to(f"..data/{name}")
    (directory / "..data").symlink_to(tmp_path / "first")
    renewal = Renewal(Tls(*(str(directory / name) for name in names)))
    assert not renewal.happened()
    for number, generation in enumerate(("second", "first", "second")):
        link = directory / f"..new{number}"
        link.symlink_to(tmp_path / generation)
        link.rename(directory / "..data")
        assert renewal.happened()
        assert not renewal.happened()
    del generations


def test_plain_connection_has_nothing_to_renew() -> None:
    assert not Renewal(None).happened()
