"""What went in and out of a namespace, as ip(8) tells it of each interface, also of those that have gone."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import netdev
from tests.lab.namespace import Namespace
from tests.probes.collected import Collected, collected


@pytest.fixture
def probe(access: KernelAccess) -> Iterator[Collected]:
    with collected(netdev.PROBE, access) as probe:
        yield probe


@pytest.fixture
def netns(netns: Namespace) -> Namespace:
    """A namespace whose interfaces send nothing on their own."""
    for interfaces in ("all", "default"):
        netns.sysctl(f"ipv6/conf/{interfaces}/disable_ipv6", 1)
    return netns


def add(namespace: Namespace, name: str) -> None:
    """A pair of interfaces, both up."""
    for arguments in (
        f"link add {name} type veth peer name {name}-end",
        f"link set {name} address 02:00:00:00:00:01 arp off up",
        f"link set {name}-end arp off up",
    ):
        namespace.command("ip", *arguments.split())


def send(namespace: Namespace, name: str, count: int) -> None:
    with namespace.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((name, 0x88B5))  # a local experimental EtherType (IEEE 802), so that nobody answers
        for _ in range(count):
            sender.send(bytes(12) + b"\x88\xb5" + bytes(46))


def sent(namespace: Namespace) -> int:
    """Packets that all interfaces of now have sent, by ip(8)."""
    links = json.loads(namespace.command("ip", "-json", "-statistics", "link"))
    return sum(link["stats64"]["tx"]["packets"] for link in links if link["ifname"] != "lo")


def test_what_an_interface_has_counted_stays_when_it_goes(probe: Collected, netns: Namespace) -> None:
    add(netns, "first")
    add(netns, "second")
    send(netns, "first", 7)
    send(netns, "second", 5)
    all_sent = sent(netns)
    assert all_sent == 12
    assert probe.rows()[netns.inode]["netdevtxpackets"] == all_sent
    netns.command("ip", "link", "delete", "first")
    assert sent(netns) < all_sent
    assert probe.rows()[netns.inode]["netdevtxpackets"] == all_sent
    send(netns, "second", 2)
    assert probe.rows()[netns.inode]["netdevtxpackets"] == all_sent + 2


def test_an_interface_with_the_name_of_another_counts_on(probe: Collected, netns: Namespace) -> None:
    add(netns, "first")
    send(netns, "first", 7)
    before = probe.rows()[netns.inode]["netdevtxpackets"]
    netns.command("ip", "link", "delete", "first")
    add(netns, "first")
    send(netns, "first", 3)
    assert probe.rows()[netns.inode]["netdevtxpackets"] == before + sent(netns)
