"""A connection that IPVS has forgotten: its next segment reaches the director itself, which resets it."""

from __future__ import annotations

import contextlib

import pytest

from lab.limits import Kernel, limited
from lab.links import Router
from lab.sockets import listening, port_of, stream
from lab.truth import Drop, Endpoint, Family, Flow, Origin, ReceivedReset, SentReset, Truth
from lab.waiting import eventually
from tests.faults.expectation import expected, told
from tests.faults.observer import Observer

_VIRTUAL_PORT = 8080


@pytest.mark.parametrize("family", [Family.IPV4])
def test_an_expired_connection_is_reset_for_want_of_a_socket(
    observer: Observer, limiting_kernel: Kernel, router: Router, family: Family
) -> None:
    director = router.namespace
    virtual = router.near.endpoint(family, _VIRTUAL_PORT)
    director.sysctl("ipv4/vs/conntrack", 0)
    with listening(router.server, family) as listener, stream(router.client, family) as caller:
        service = f"{virtual.address}:{virtual.port}"
        director.command("ipvsadm", "--set", "1", "1", "1")
        director.command("ipvsadm", "-A", "-t", service, "-s", "rr")
        server = f"{router.server.address(family)}:{port_of(listener)}"
        director.command("ipvsadm", "-a", "-t", service, "-r", server, "--masquerading")
        caller.connect((virtual.address, virtual.port))
        with listener.accept()[0]:
            client = Endpoint(router.client.address(family), port_of(caller))
            eventually(lambda: _forgotten(router, client), within_s=60)
            with contextlib.suppress(ConnectionResetError):
                caller.send(b"too late")
                caller.recv(1)
            truth = limited(limiting_kernel, _truth(router, Flow("TCP", client, virtual)))
            must = expected(truth)
            inodes = [router.client.namespace.inode, director.inode]
            events, _ = observer.agreeing(inodes, lambda events: told(events, truth) >= must)
    assert told(events, truth) == must


def _forgotten(router: Router, client: Endpoint) -> bool:
    """Whether IPVS has no entry of the connection any more (the table is in hexadecimal)."""
    return f" {client.port:04X} " not in router.namespace.proc_net("ip_vs_conn")


def _truth(router: Router, segment: Flow) -> Truth:
    director, client = router.namespace.inode, router.client.namespace.inode
    return Truth(
        sent_resets=(SentReset(director, Origin.NO_SOCKET, segment.reversed(), "NO_SOCKET"),),
        received_resets=(ReceivedReset(client, segment.reversed(), "TCP_ESTABLISHED"),),
        drops=(Drop(director, segment, "NO_SOCKET"),),
    )
