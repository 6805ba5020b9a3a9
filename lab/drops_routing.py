"""Packets that find no way: in a router, or as they leave a host."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable

from lab.links import Router, ip_batch
from lab.namespace import Namespace
from lab.scenario import Scenario
from lab.sockets import datagram, end_of
from lab.states import accepted
from lab.truth import Endpoint, Family, Flow, Truth
from lab.verdict import Verdict
from lab.waiting import eventually
from lab.wire import Wire

_PORT = 9
_AFAR = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Addresses for documentation (RFC 5737, RFC 3849): the router has no route to them."""
_NOBODY = {4: "10.0.2.99", 6: "fd00:2::99"}
"""Addresses in the server's network that no one has."""
_ONE_QUESTION = {"mcast_solicit": 1, "app_solicit": 0, "retrans_time_ms": 50, "unres_qlen_bytes": 65536}
"""Settings of neighbours: ask once on the wire and no program, and let a packet wait for 50 ms."""


def _no_route(router: Router, family: Family) -> Truth:
    verdict = Verdict("IP_INNOROUTES", "Ip6InNoRoutes" if family.ip == 6 else "IpExt.InNoRoutes")
    return _lost_on_the_way(router, family, _AFAR[family.ip], verdict)


def _unroutable(kind: str) -> Callable[[Router, Family], Truth]:
    def play(router: Router, family: Family) -> Truth:
        ip_batch(router.namespace, f"route add {kind} {_AFAR[family.ip]}")
        reason = "IP_INNOROUTES" if family.ip == 6 and kind != "blackhole" else "NOT_SPECIFIED"
        return _lost_on_the_way(router, family, _AFAR[family.ip], Verdict(reason))

    return play


def _not_forwarding(router: Router, family: Family) -> Truth:
    router.namespace.sysctl("ipv4/ip_forward", 0)
    router.namespace.sysctl("ipv6/conf/all/forwarding", 0)
    verdict = Verdict("IP_INADDRERRORS", "Ip6InAddrErrors" if family.ip == 6 else "Ip.InAddrErrors")
    return _lost_on_the_way(router, family, router.server.address(family), verdict)


def _hops_used_up(router: Router, family: Family) -> Truth:
    """The kernel's reason is that of a bad header (ip_forward, net/ipv4/ip_forward.c)."""
    option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if family.ip == 6 else (socket.IPPROTO_IP, socket.IP_TTL)
    verdict = Verdict("IP_INHDR", "Ip6InHdrErrors" if family.ip == 6 else "Ip.InHdrErrors")
    return _lost_on_the_way(router, family, router.server.address(family), verdict, option=(*option, 1))


def _too_big(router: Router, family: Family) -> Truth:
    ip_batch(router.namespace, f"link set {router.far.device} mtu 1280")
    verdict = Verdict("PKT_TOO_BIG", "Ip6InTooBigErrors" if family.ip == 6 else "Ip.FragFails")
    return _lost_on_the_way(router, family, router.server.address(family), verdict, size=1400)


def _neighbour_silent(router: Router, family: Family) -> Truth:
    """No one answers for the last hop's address: the packet waits for it, and is dropped when the kernel gives up."""
    namespace, nobody = router.namespace, _NOBODY[family.ip]
    for name, value in _ONE_QUESTION.items():
        namespace.sysctl(f"ipv{family.ip}/neigh/{router.far.device}/{name}", value)
    truth = _lost_on_the_way(router, family, nobody, Verdict("NOT_SPECIFIED" if family.ip == 6 else "NEIGH_FAILED"))
    eventually(lambda: _has_given_up(namespace, nobody), within_s=30)
    return truth


def _has_given_up(namespace: Namespace, neighbour: str) -> bool:
    """Whether the neighbour has failed, and what waited for it is dropped.

    The state changes before the drop, and may be seen between the two; the timer that does both holds a reference until
    it is done (neigh_timer_handler, net/core/neighbour.c).
    """
    found = json.loads(namespace.command("ip", "-json", "-statistics", "neighbour", "show", neighbour))
    return any("FAILED" in entry["state"] and not entry.get("refcnt") for entry in found)


def _route_lost(wire: Wire, family: Family) -> Truth:
    """A connection's route becomes unreachable while it sends. The one drop here whose packet has no IP header yet.

    The program that gives the route back is started before, so that it is quicker than the retransmission on a slow
    machine too.
    """
    namespace, far = wire.host.namespace, wire.address(family)
    with accepted(wire, family) as (connected, puppet):
        giving_back = namespace.run(subprocess.Popen, ["ip", "-batch", "-"], stdin=subprocess.PIPE, text=True)
        ip_batch(namespace, f"route add unreachable {far}")
        connected.send(b"nowhere")
        giving_back.communicate(f"route delete unreachable {far}\n")
    reason, counter = ("NOT_SPECIFIED", "") if family.ip == 6 else ("IP_OUTNOROUTES", "Ip.OutNoRoutes")
    return Verdict(reason, counter).truth(namespace.inode, puppet.sends.reversed())


def _lost_on_the_way(
    router: Router,
    family: Family,
    destination: str,
    verdict: Verdict,
    *,
    size: int = 4,
    option: tuple[int, int, int] | None = None,
) -> Truth:
    """One datagram of the client that the router drops."""
    with datagram(router.client, family) as sender:
        if option:
            sender.setsockopt(*option)
        flow = Flow("UDP", end_of(router.client, family, sender), Endpoint(destination, _PORT))
        sender.sendto(bytes(size), (family.socket_address(destination), _PORT))
    return verdict.truth(router.namespace.inode, flow)


ON_ROUTER: tuple[Scenario[Router], ...] = (
    Scenario("no_route", _no_route),
    Scenario("route_unreachable", _unroutable("unreachable")),
    Scenario("route_blackhole", _unroutable("blackhole")),
    Scenario("not_forwarding", _not_forwarding),
    Scenario("hops_used_up", _hops_used_up),
    Scenario("too_big", _too_big),
    Scenario("neighbour_silent", _neighbour_silent, deferred=True),
)
ON_WIRE: tuple[Scenario[Wire], ...] = (Scenario("route_lost", _route_lost),)
