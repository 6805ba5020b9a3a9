"""TCP in good health, whose segments the kernel yet frees by the call by which it drops: no one of them is lost."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from lab.counters import counters
from lab.links import Host, Pair
from lab.scenario import Scenario
from lab.segments import Flag
from lab.sockets import listening, port_of, read_all, stream
from lab.states import PSH_ACK, PUPPET_PORT, led_to, with_closed_window
from lab.truth import Count, Family, Truth
from lab.waiting import eventually
from lab.wire import Puppet, Wire

_PATIENCE_S = 60
_PROBES = 2
_DOWNLOAD = 20_000_000
_DEFERRED = 50
_DEFERRED_FOR_S = 5


@contextlib.contextmanager
def _connected(pair: Pair, family: Family) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection: the client's end, and the server's."""
    with listening(pair.server, family) as listener, stream(pair.client, family) as client:
        client.connect(listener.getsockname())
        with listener.accept()[0] as server:
            server.settimeout(_PATIENCE_S)
            yield client, server


def _idle_with_keepalive(pair: Pair, family: Family) -> Truth:
    """An idle connection of which the client asks each second whether it still stands."""
    with _connected(pair, family) as (client, _):
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
            client.setsockopt(socket.IPPROTO_TCP, option, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        eventually(lambda: counters(pair.client.namespace)["TcpExt.TCPKeepAlive"] >= _PROBES, _PATIENCE_S)
    return Truth()


def _reader_that_pauses(pair: Pair, family: Family) -> Truth:
    """The server does not read, and the client asks whether it does again."""

    def full_and_probed() -> bool:
        with contextlib.suppress(BlockingIOError):
            while client.send(bytes(65536)):
                pass
        return counters(pair.client.namespace).get("TcpExt.TCPWinProbe", 0) >= _PROBES

    with _connected(pair, family) as (client, server):
        client.setblocking(False)
        eventually(full_and_probed, _PATIENCE_S)
        client.shutdown(socket.SHUT_WR)
        read_all(server)
    return Truth()


def _download_after_half_close(pair: Pair, family: Family) -> Truth:
    """The client has said all it has to say before the answer comes: all that it sends are acknowledgments."""
    with _connected(pair, family) as (client, server), ThreadPoolExecutor(1) as sender:
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        sent = sender.submit(_send_and_close, server, bytes(_DOWNLOAD))
        assert read_all(client) == _DOWNLOAD
        sent.result()
    return Truth()


def _send_and_close(server: socket.socket, data: bytes) -> None:
    server.sendall(data)
    server.close()


@contextlib.contextmanager
def deferring(
    host: Host, family: Family, backlog: int = _DEFERRED, seconds: int = _DEFERRED_FOR_S
) -> Iterator[socket.socket]:
    """A listening socket whose connections are accepted when their data come (TCP_DEFER_ACCEPT, tcp(7))."""
    with stream(host, family) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, seconds)
        listener.listen(backlog)
        yield listener


def _connections_to_deferring_server(pair: Pair, family: Family) -> Truth:
    """What the server's kernel makes of the ACK that ends a handshake: it waits for data, and needs it no more."""
    with deferring(pair.server, family) as listener, contextlib.ExitStack() as stack:
        for _ in range(_DEFERRED):
            client = stack.enter_context(stream(pair.client, family))
            client.connect(listener.getsockname())
            client.sendall(b"request")
            server = stack.enter_context(listener.accept()[0])
            assert server.recv(100) == b"request"
    return Truth(counts=(Count(pair.server.namespace.inode, "TcpExt.TCPDeferAcceptDrop", _DEFERRED),))


def _deferred_handshake(wire: Wire, family: Family) -> Truth:
    with deferring(wire.host, family) as listener:
        puppet = wire.puppet(family, PUPPET_PORT, port_of(listener))
        puppet.connect()
        puppet.send(PSH_ACK, b"request")
        puppet.expect(Flag.ACK)
        with listener.accept()[0] as server:
            assert server.recv(100) == b"request"
    return Truth(counts=(Count(wire.host.namespace.inode, "TcpExt.TCPDeferAcceptDrop"),))


def _in(state: str, send: Callable[[Puppet], None]) -> Callable[[Wire, Family], Truth]:
    def play(wire: Wire, family: Family) -> Truth:
        with led_to(state, wire, family) as puppet:
            send(puppet)
        return Truth()

    return play


def _ask(puppet: Puppet, payload: bytes = b"") -> None:
    """Send what is known already, so that the host says how far it is (RFC 9293, 3.8.4)."""
    puppet.send(Flag.ACK, payload, sequence_error=-1)
    puppet.expect(Flag.ACK)


def _probe_with_next_byte(wire: Wire, family: Family) -> Truth:
    """How others than Linux ask whether a window is still closed (RFC 9293, 3.8.6.1)."""
    with with_closed_window(wire, family) as puppet:
        puppet.send(Flag.ACK, b"?")
        puppet.expect(Flag.ACK)
    return Truth()


def _acknowledge_all_but_fin(puppet: Puppet) -> None:
    puppet.send(Flag.ACK, acknowledgment_error=-1)


ON_PAIR: tuple[Scenario[Pair], ...] = (
    Scenario("keepalive", _idle_with_keepalive),
    Scenario("window_probes", _reader_that_pauses),
    Scenario("download_after_half_close", _download_after_half_close),
    Scenario("deferred_accept", _connections_to_deferring_server),
)
ON_WIRE: tuple[Scenario[Wire], ...] = (
    *(
        Scenario(f"keepalive_in_{state.removeprefix('TCP_')}", _in(state, _ask))
        for state in ("TCP_ESTABLISHED", "TCP_CLOSE_WAIT", "TCP_FIN_WAIT1", "TCP_FIN_WAIT2")
    ),
    Scenario("keepalive_with_a_byte", _in("TCP_ESTABLISHED", partial(_ask, payload=b"?"))),
    Scenario("window_probe_with_a_byte", _probe_with_next_byte),
    Scenario("ACK_in_CLOSE_WAIT", _in("TCP_CLOSE_WAIT", lambda puppet: puppet.send(Flag.ACK))),
    Scenario("ACK_in_CLOSING", _in("TCP_CLOSING", _acknowledge_all_but_fin)),
    Scenario("ACK_in_LAST_ACK", _in("TCP_LAST_ACK", _acknowledge_all_but_fin)),
    Scenario("ACK_in_FIN_WAIT1", _in("TCP_FIN_WAIT1", _acknowledge_all_but_fin)),
    Scenario("ACK_in_FIN_WAIT2", _in("TCP_FIN_WAIT2", lambda puppet: puppet.send(Flag.ACK))),
    Scenario("deferred_handshake", _deferred_handshake),
)
