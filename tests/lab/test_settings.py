"""A host may be set in any way: its namespaces of the laboratory are always the same, and the faults in them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import namespace, settings
from lab.counters import counters
from lab.links import Pair, Router
from lab.namespace import Namespace
from lab.segments import udp_packet
from lab.sockets import datagram, port_of, stream
from lab.truth import Endpoint, Family, Flow
from lab.waiting import eventually
from lab.wire import Wire
from tests.lab.test_scenarios import test_on_pair, test_on_router, test_on_wire, trace, whole_trace

__all__ = ["test_on_pair", "test_on_router", "test_on_wire", "trace", "whole_trace"]

pytestmark = pytest.mark.usefixtures("odd_host")

_SYS_NET = Path("/proc/sys/net")
_ODD = {
    "ipv4/tcp_congestion_control": "cubic",
    "ipv4/tcp_max_tw_buckets": "0",
    "ipv4/tcp_rmem": "4096 4096 4096",
    "ipv4/tcp_wmem": "4096 4096 4096",
}


@pytest.fixture
def odd_host(_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespaces begin as on a host whose settings are all unusual: Linux copies them before anything else happens."""

    def inherit_and_settle() -> None:
        for name, value in list(_unusual()):
            with contextlib.suppress(OSError):  # not all take a value so small
                (_SYS_NET / name).write_text(value)
        settings.settle()

    monkeypatch.setattr(namespace, "settle", inherit_and_settle)


def _unusual() -> Iterator[tuple[str, str]]:
    """Of interfaces every setting, whether or not the laboratory declares it, and of the rest what can be inherited."""
    for setting in sorted(_SYS_NET.glob("ipv[46]/conf/*/*")):
        if setting.stat().st_mode & 0o222 and setting.name != "stable_secret":
            yield str(setting.relative_to(_SYS_NET)), "0" if setting.read_text() == "1\n" else "1"
    yield from _ODD.items()


def test_settings_are_those_that_are_declared(netns: Namespace) -> None:
    for name, value in settings.declared():
        if (_SYS_NET / name).exists():
            assert netns.command("cat", f"/proc/sys/net/{name}").split() == str(value).split(), name


def test_a_device_that_is_made_later_has_them_too(pair: Pair) -> None:
    for name, value in settings.declared():
        _, _, of_default = name.partition("/conf/default/")
        if of_default and (_SYS_NET / name).exists():
            path = f"/proc/sys/net/{name.replace('default', pair.client.device)}"
            assert pair.client.namespace.command("cat", path) == f"{value}\n", name


def test_the_odd_host_is_odd(netns: Namespace) -> None:
    """What nobody declares has its unusual value."""
    assert netns.command("cat", "/proc/sys/net/ipv4/conf/default/log_martians") == "1\n"


def test_a_stage_sends_nothing_but_reports(pair: Pair) -> None:
    """Of multicast listening (MLDv2, RFC 3810), which no setting turns off."""

    def sent_and_reported() -> bool:
        device = pair.client.namespace.proc_net("dev").partition(f"{pair.client.device}:")[2].split()
        return int(device[9]) == counters(pair.client.namespace).get("Icmp6OutMLDv2Reports", 0) > 0

    eventually(sent_and_reported)


def test_a_stream_has_the_buffers_and_the_congestion_control_of_any_other_host(pair: Pair) -> None:
    with stream(pair.client, Family.IPV4) as made:
        buffers = [made.getsockopt(socket.SOL_SOCKET, which) for which in (socket.SO_RCVBUF, socket.SO_SNDBUF)]
        assert buffers == [131072, 16384]
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == b"reno"


def test_a_broadcast_is_not_forwarded(router: Router) -> None:
    with datagram(router.client, Family.IPV4) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.sendto(b"to all", ("10.0.2.255", 9))
    eventually(lambda: counters(router.namespace)["Ip.InReceives"])
    assert counters(router.namespace)["Ip.ForwDatagrams"] == 0


def test_a_datagram_from_where_no_route_leads_back_arrives(wire: Wire) -> None:
    with datagram(wire.host, Family.IPV4) as reader:
        flow = Flow("UDP", Endpoint("192.0.2.1", 4000), wire.host.endpoint(Family.IPV4, port_of(reader)))
        wire.send(udp_packet(flow, b"hello"))
        assert reader.recv(5) == b"hello"
