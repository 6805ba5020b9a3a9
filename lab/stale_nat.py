"""A connection whose address translation is forgotten while both ends still use it."""

from __future__ import annotations

import socket

from lab.links import Router
from lab.scenario import Scenario
from lab.sockets import listening, port_of, stream
from lab.truth import Count, Drop, Endpoint, Family, Flow, Origin, ReceivedReset, SentReset, Truth
from lab.waiting import eventually

_TCP_REPAIR = 19
"""A socket in repair closes without a word (include/uapi/linux/tcp.h)."""


def _entry_deleted(router: Router, family: Family) -> Truth:
    """The router hides the client behind its own address, and loses the entry: what the server sends is then its own.

    It has no socket for that, and resets a connection that the server and the client believe in.
    """
    router.namespace.command("nft", "-f", "-", stdin=_hiding_behind(router.far.device))
    with listening(router.server, family) as listener, stream(router.client, family) as caller:
        caller.connect((family.socket_address(router.server.address(family)), port_of(listener)))
        connected, (_, hidden_port, *_) = listener.accept()
        with connected:
            router.namespace.command("conntrack", "-F")
            connected.send(b"answer")
            eventually(lambda: connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        server = router.server.endpoint(family, port_of(listener))
        caller.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    answer = Flow("TCP", server, Endpoint(router.far.address(family), hidden_port))
    middle = router.namespace.inode
    return Truth(
        sent_resets=(SentReset(middle, Origin.NO_SOCKET, answer.reversed(), "NO_SOCKET"),),
        received_resets=(ReceivedReset(router.server.namespace.inode, answer.reversed(), "TCP_ESTABLISHED"),),
        drops=(Drop(middle, answer, "NO_SOCKET"),),
        counts=(Count(middle, "Tcp.OutRsts"), Count(router.server.namespace.inode, "Tcp.EstabResets")),
    )


def _hiding_behind(device: str) -> str:
    return f"""
        table inet lab {{
            chain hide {{
                type nat hook postrouting priority srcnat
                oifname "{device}" masquerade
            }}
        }}
    """


ON_ROUTER: tuple[Scenario[Router], ...] = (Scenario("stale_nat", _entry_deleted),)
