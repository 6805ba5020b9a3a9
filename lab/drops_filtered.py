"""Packets that a firewall drops, in each of nftables' hooks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from lab.links import Host, Pair, Router
from lab.scenario import Scenario
from lab.sockets import datagram, end_of
from lab.truth import Drop, Family, Flow, Truth


def _at_server(hook: str) -> Callable[[Pair, Family], Truth]:
    def play(pair: Pair, family: Family) -> Truth:
        return _dropped(pair.server, hook, pair.client, pair.server, family)

    return play


def _at_client(hook: str) -> Callable[[Pair, Family], Truth]:
    def play(pair: Pair, family: Family) -> Truth:
        return _dropped(pair.client, hook, pair.client, pair.server, family)

    return play


def _at_router(hook: str) -> Callable[[Router, Family], Truth]:
    def play(router: Router, family: Family) -> Truth:
        return _dropped(router.near, hook, router.client, router.server, family)

    return play


def _dropped(firewall: Host, hook: str, client: Host, server: Host, family: Family) -> Truth:
    """One datagram of the client; where its own host drops it, the program gets EPERM."""
    with datagram(server, family) as reader, datagram(client, family) as sender:
        flow = Flow("UDP", end_of(client, family, sender), end_of(server, family, reader))
        firewall.namespace.command("nft", "-f", "-", stdin=_ruleset(hook, firewall.device, flow.destination.port))
        with contextlib.suppress(PermissionError):
            sender.sendto(b"filtered", reader.getsockname())
    return Truth(drops=(Drop(firewall.namespace.inode, flow, "NETFILTER_DROP"),))


def _ruleset(hook: str, device: str, port: int) -> str:
    """nft(8), "CHAINS": the hooks of a device are in the family netdev."""
    of_device = hook in {"ingress", "egress"}
    return f"""
        table {"netdev" if of_device else "inet"} lab {{
            chain {hook} {{
                type filter hook {hook} {f'device "{device}" ' if of_device else ""}priority 0
                udp dport {port} drop
            }}
        }}
    """


ON_PAIR: tuple[Scenario[Pair], ...] = (
    *(Scenario(f"nft_{hook}", _at_server(hook)) for hook in ("ingress", "prerouting", "input")),
    *(Scenario(f"nft_{hook}", _at_client(hook)) for hook in ("output", "postrouting", "egress")),
)
ON_ROUTER: tuple[Scenario[Router], ...] = (Scenario("nft_forward", _at_router("forward")),)
