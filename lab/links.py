"""Stages: hosts (namespaces) joined by veth pairs, set up so that the links make no traffic of their own."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from lab.namespace import Namespace
from lab.truth import Endpoint, Family
from lab.waiting import eventually


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace, and one of its devices with an address of each version."""

    namespace: Namespace
    device: str
    ipv4: str
    ipv6: str
    mac: str = "00:00:00:00:00:00"

    def address(self, family: Family) -> str:
        """The address that packets of this family bear."""
        return self.ipv6 if family is Family.IPV6 else self.ipv4

    def endpoint(self, family: Family, port: int = 0) -> Endpoint:
        """An end of a flow at this host."""
        return Endpoint(self.address(family), port)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two hosts that reach each other directly."""

    client: Host
    server: Host


@dataclass(frozen=True, slots=True)
class Router:
    """Two hosts that reach each other through a third, which has a device at each side."""

    client: Host
    near: Host
    far: Host
    server: Host

    @property
    def namespace(self) -> Namespace:
        """The namespace that forwards."""
        return self.near.namespace


def loopback(namespace: Namespace) -> Pair:
    """Client and server in one namespace, on its loopback."""
    host = Host(namespace, "lo", "127.0.0.1", "::1")
    return Pair(host, host)


@contextlib.contextmanager
def joined_pair() -> Iterator[Pair]:
    """Two new namespaces joined by a veth pair."""
    with Namespace() as client, Namespace() as server:
        yield Pair(*join(client, server, subnet=1))


@contextlib.contextmanager
def joined_by_router() -> Iterator[Router]:
    """Three new namespaces in a row, of which the middle one forwards both families."""
    with Namespace() as client, Namespace() as middle, Namespace() as server:
        client_end, near = join(client, middle, subnet=1)
        far, server_end = join(middle, server, subnet=2)
        middle.sysctl("ipv4/ip_forward", 1)
        middle.sysctl("ipv6/conf/all/forwarding", 1)
        _route_by(client_end, near)
        _route_by(server_end, far)
        yield Router(client_end, near, far, server_end)


def join(left: Namespace, right: Namespace, subnet: int) -> tuple[Host, Host]:
    """Join two namespaces: 10.0.<subnet>.0/24 and fd00:<subnet>::/64, number 1 at the left and 2 at the right.

    Neighbours are known and no link-local address is made, so that there is no ARP, no neighbour discovery, and no
    duplicate address detection to wait for.
    """
    a, b = _end(left, subnet, 1), _end(right, subnet, 2)
    left.command(
        "ip", "link", "add", a.device, "address", a.mac,
        "type", "veth", "peer", "name", b.device, "address", b.mac, "netns", str(right.pid),
    )  # fmt: skip
    configure(a, b)
    configure(b, a)
    await_local_route(a)
    await_local_route(b)
    return a, b


def await_local_route(host: Host) -> None:
    """Wait until packets for the host's IPv6 address are taken: a work queue adds the route (net/ipv6/addrconf.c)."""
    route = f"{ipaddress.ip_address(host.ipv6).packed.hex()} 80 "
    eventually(lambda: route in host.namespace.proc_net("ipv6_route"))


def _end(namespace: Namespace, subnet: int, number: int) -> Host:
    return Host(
        namespace,
        device=f"eth{subnet}",
        ipv4=f"10.0.{subnet}.{number}",
        ipv6=f"fd00:{subnet}::{number}",
        mac=f"02:00:00:00:{subnet:02x}:{number:02x}",
    )


def configure(end: Host, peer: Host) -> None:
    """Give the device its addresses, and make its peer known to it."""
    ip_batch(
        end.namespace,
        f"link set {end.device} addrgenmode none",
        f"link set {end.device} up",
        f"address add {end.ipv4}/24 dev {end.device}",
        f"address add {end.ipv6}/64 dev {end.device} nodad",
        f"neighbour add {peer.ipv4} lladdr {peer.mac} dev {end.device} nud permanent",
        f"neighbour add {peer.ipv6} lladdr {peer.mac} dev {end.device} nud permanent",
    )


def _route_by(host: Host, gateway: Host) -> None:
    ip_batch(host.namespace, f"route add default via {gateway.ipv4}", f"route add default via {gateway.ipv6}")


def ip_batch(namespace: Namespace, *lines: str) -> None:
    """Run lines of ip(8) in a namespace, as one process."""
    namespace.command("ip", "-batch", "-", stdin="\n".join(lines))
