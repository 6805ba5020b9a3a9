"""Loss, delay and reordering on the way (tc-netem(8)): the counters are nstat's, and each drop is told."""

from __future__ import annotations

import contextlib
import json
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from lab.links import Host, Pair
from lab.sockets import listening, port_of, stream
from lab.truth import Family, Truth
from lab.waiting import eventually
from tests.faults.expectation import Told, told
from tests.faults.observer import Observer
from tests.vm.inside.nstat import confirmed, nstat

_PATIENCE_S = 60.0


@pytest.mark.parametrize("family", [Family.IPV4, Family.IPV6])
def test_loss_is_retransmitted_and_each_drop_is_told(observer: Observer, pair: Pair, family: Family) -> None:
    client = pair.client.namespace
    with _connected(pair, family) as (sender, receiver):
        _disturb(pair.client, family, "loss 100%")
        sender.send(b"lost")
        eventually(lambda: nstat(client)["TcpRetransSegs"] >= 2, _PATIENCE_S)
        dropped = _no_more_loss(pair.client)
        assert receiver.recv(4) == b"lost"
        counters = confirmed(observer, client)
        destination = (pair.server.address(family), port_of(receiver))
    assert counters["TcpRetransSegs"] >= 2
    assert counters["TcpExtTCPTimeouts"] >= 1
    lost = Counter(each.destination for each in _lost(observer, pair.client).elements())
    assert lost == {destination: dropped}


@pytest.mark.parametrize("family", [Family.IPV6])
def test_what_is_late_is_retransmitted_in_vain(observer: Observer, pair: Pair, family: Family) -> None:
    """The acknowledgment comes after the sender's timer. The receiver says of each copy that it had come before."""
    with _connected(pair, family) as (sender, receiver):
        _disturb(pair.server, family, "delay 1s")
        sender.send(b"late")
        assert receiver.recv(4) == b"late"

        def answered() -> bool:
            sent, received = nstat(pair.client.namespace), nstat(pair.server.namespace)
            copies = {sent["TcpRetransSegs"], received["TcpExtTCPDSACKOldSent"], sent["TcpExtTCPDSACKRecv"]}
            return len(copies) == 1 and copies != {0}

        eventually(answered, _PATIENCE_S)
        confirmed(observer, pair.client.namespace)
        confirmed(observer, pair.server.namespace)
    assert not _lost(observer, pair.client)


@pytest.mark.parametrize("family", [Family.IPV4])
def test_what_comes_before_its_turn_is_counted_by_the_receiver(observer: Observer, pair: Pair, family: Family) -> None:
    with _connected(pair, family) as (sender, receiver):
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _disturb(pair.client, family, "delay 2s reorder 100% gap 2")  # every second segment passes at once
        sender.send(b"first ")
        sender.send(b"second")
        assert receiver.recv(12, socket.MSG_WAITALL) == b"first second"
        assert confirmed(observer, pair.server.namespace)["TcpExtTCPOFOQueue"] >= 1
        confirmed(observer, pair.client.namespace)
    assert not _lost(observer, pair.client)


@contextlib.contextmanager
def _connected(pair: Pair, family: Family) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's end of a connection, and the server's."""
    with listening(pair.server, family) as listener, stream(pair.client, family) as caller:
        caller.connect((family.socket_address(pair.server.address(family)), port_of(listener)))
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(_PATIENCE_S)
            yield caller, accepted


def _disturb(host: Host, family: Family, how: str) -> None:
    """Have netem disturb TCP segments, and nothing that the kernel sends by itself (multicast listener reports)."""
    protocol, field = ("ipv6", "ip6") if family is Family.IPV6 else ("ip", "ip")
    lines = (
        f"qdisc add dev {host.device} root handle 1: prio bands 4 priomap{' 1' * 16}",
        f"qdisc add dev {host.device} parent 1:4 handle 4: netem {how}",
        f"filter add dev {host.device} parent 1: protocol {protocol} u32 match {field} protocol 6 0xff flowid 1:4",
    )
    host.namespace.command("tc", "-batch", "-", stdin="\n".join(lines))


def _no_more_loss(host: Host) -> int:
    """Let everything pass from now on; how many segments were dropped until then."""
    host.namespace.command(*f"tc qdisc change dev {host.device} parent 1:4 handle 4: netem loss 0%".split())
    shown = json.loads(host.namespace.command("tc", "-s", "-j", "qdisc", "show", "dev", host.device))
    return next(int(qdisc["drops"]) for qdisc in shown if qdisc["kind"] == "netem")


def _lost(observer: Observer, host: Host) -> Counter[Told]:
    events = told(observer.events([host.namespace.inode]), Truth())
    return Counter({each: count for each, count in events.items() if each.type == "PACKETLOSS"})
