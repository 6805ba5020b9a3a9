"""Stages join what they say, for every family, and make no traffic of their own before a test does."""

from __future__ import annotations

import pytest

from lab.links import Host, Pair, Router, loopback
from lab.namespace import Namespace
from lab.sockets import datagram
from lab.truth import Family


def _exchange(client: Host, server: Host, family: Family) -> None:
    with datagram(server, family) as reader, datagram(client, family) as sender:
        reader.settimeout(5)
        sender.sendto(b"hello", reader.getsockname())
        data, address = reader.recvfrom(10)
        assert data == b"hello"
        assert address[0] == family.socket_address(client.address(family))


@pytest.mark.parametrize("family", Family)
def test_pair(family: Family, pair: Pair) -> None:
    _exchange(pair.client, pair.server, family)
    _exchange(pair.server, pair.client, family)


@pytest.mark.parametrize("family", Family)
def test_router(family: Family, router: Router) -> None:
    _exchange(router.client, router.server, family)
    _exchange(router.server, router.client, family)


@pytest.mark.parametrize("family", Family)
def test_loopback(family: Family, netns: Namespace) -> None:
    pair = loopback(netns)
    _exchange(pair.client, pair.server, family)
