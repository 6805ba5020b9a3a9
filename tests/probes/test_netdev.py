"""What went in and out of a namespace, as ip(8) tells it of each interface, also of those that have gone."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator

import pytest

from lab.links import Pair
from lab.namespace import Namespace
from lab.sockets import datagram
from lab.truth import Family
from lab.waiting import eventually
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import netdev
from tests.probes.collected import Collected, changes, collected, have_read, silence


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


def test_each_series_shows_its_own_column(
    access: KernelAccess, netns: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another number in each column, as dev_seq_printf_stats() of the kernel writes them."""
    header = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast"
        "|bytes    packets errs drop fifo colls carrier compressed\n"
    )
    have_read(monkeypatch, netdev, f"{header}  eth0: {' '.join(map(str, range(101, 117)))}\n")
    with collected(netdev.PROBE, access) as probe:
        assert probe.rows()[netns.inode] == {
            "netdevrxbytes": 101,
            "netdevrxpackets": 102,
            "netdevrxerrors": 103,
            "netdevrxdropped": 104,
            "netdevtxbytes": 109,
            "netdevtxpackets": 110,
            "netdevtxerrors": 111,
            "netdevtxdropped": 112,
        }


FRAME = 60


def test_frames_are_counted_where_they_leave_and_where_they_arrive(probe: Collected, pair: Pair) -> None:
    """Of a protocol that nobody speaks: whom they reach drops them."""
    sender, receiver = pair.client.namespace, pair.server.namespace
    for namespace in (sender, receiver):
        silence(namespace)
    before = probe.rows()
    send(sender, pair.client.device, 7)
    eventually(lambda: probe.rows()[receiver.inode]["netdevrxdropped"] >= 7)
    after = probe.rows()
    assert changes(before[sender.inode], after[sender.inode]) == {"netdevtxpackets": 7, "netdevtxbytes": 7 * FRAME}
    assert changes(before[receiver.inode], after[receiver.inode]) == {
        "netdevrxpackets": 7,
        "netdevrxbytes": 7 * FRAME,
        "netdevrxdropped": 7,
    }


def add_tunnel(namespace: Namespace, *arguments: str) -> None:
    """The interface `tunnel`, of VXLAN (RFC 7348)."""
    silence(namespace)
    options = ["id", "9", "dstport", "4789", "nolearning"]
    namespace.command("ip", "link", "add", "tunnel", "type", "vxlan", *options, *arguments)
    namespace.command("ip", "link", "set", "tunnel", "up")


def test_what_a_tunnel_has_no_destination_for_is_dropped(probe: Collected, netns: Namespace) -> None:
    add_tunnel(netns)
    before = probe.rows()[netns.inode]
    send(netns, "tunnel", 4)
    assert changes(before, probe.rows()[netns.inode]) == {"netdevtxdropped": 4}


def test_what_a_tunnel_has_no_route_for_is_an_error(probe: Collected, netns: Namespace) -> None:
    add_tunnel(netns, "remote", "192.0.2.1")
    before = probe.rows()[netns.inode]
    send(netns, "tunnel", 5)
    assert changes(before, probe.rows()[netns.inode]) == {"netdevtxerrors": 5}


CONGESTED = 3
"""A mark of ECN that a packet in a tunnel may not have got where the sender does not know of ECN (RFC 6040)."""


def test_what_comes_by_a_tunnel_and_is_malformed_is_an_error(probe: Collected, pair: Pair) -> None:
    receiver = pair.server.namespace
    add_tunnel(receiver)
    inner = bytes(12) + b"\x08\x00" + struct.pack("!BBHIBBHII", 0x45, 0, 20, 0, 64, 17, 0, 1, 2)
    before = probe.rows()[receiver.inode]
    with datagram(pair.client, Family.IPV4) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, CONGESTED)
        for _ in range(6):
            sender.sendto(struct.pack("!II", 0x08000000, 9 << 8) + inner, (pair.server.ipv4, 4789))
    eventually(lambda: probe.rows()[receiver.inode]["netdevrxerrors"] >= 6)
    moved = changes(before, probe.rows()[receiver.inode])
    assert (moved["netdevrxerrors"], moved["netdevrxpackets"]) == (6, 6)


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
