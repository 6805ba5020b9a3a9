"""Parts of a packet's latency: a delay is in the part where it was made, and no part is longer than it can be.

What is slow is a list of rules in one of netfilter's hooks. The test's own clock says how long the packet took.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import pytest

from lab.links import Pair
from lab.namespace import Namespace
from lab.slow_paths import endless_rules
from lab.sockets import datagram, port_of
from lab.standstills import connected
from lab.states import PSH_ACK, accepted
from lab.truth import Family
from lab.waiting import eventually
from lab.wire import Wire
from otel_netagent.model.event import Event
from otel_netagent.pipeline.kernel_access import KernelAccess, find_kernel_access
from otel_netagent.probing.declaration import EventSettings
from tests.probes.running import Running, running

_EVERY_PACKET: Final = EventSettings(per_second=1_000_000, thresholds_ms={"RXKERNEL_SLOW": 0, "TXKERNEL_SLOW": 0})
_PATIENCE_S: Final = 30.0

_RULES: Final = 60
"""Cubed, since each jumps to a chain of as many: two hundred thousand."""
_LEAST_NS: Final = 1_000_000
"""No machine passes one in less than five nanoseconds."""

_FAMILIES: Final = (Family.IPV4, Family.IPV6)
_RECEIVING: Final = {"prerouting": "prerouting", "input": "local_in"}
_SENDING: Final = {"output": "local_out", "postrouting": "postrouting"}
"""Parts of a latency, by the hook of netfilter that they contain."""


@pytest.fixture(scope="module", params=["fentry", "kprobe"])
def access(request: pytest.FixtureRequest) -> Iterator[KernelAccess]:
    """The kernel as it is; and as if its types were in a file alone, so that it takes kprobes only."""
    access = find_kernel_access()
    assert access.facts
    if request.param == "kprobe":
        source = dataclasses.replace(access.facts.source, in_kernel=False)
        access = dataclasses.replace(access, facts=dataclasses.replace(access.facts, source=source))
    with contextlib.closing(access.walk.walk):
        yield access


@pytest.fixture(scope="module")
def telling_all(access: KernelAccess) -> Iterator[Running]:
    """The probe, with each packet an event, when the kernel has begun to stamp packets."""
    with running("kernellatency", access, _EVERY_PACKET) as probe, Namespace() as namespace:

        def stamped() -> list[Event]:
            with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
                own.bind(("127.0.0.1", 0))
                own.sendto(b"", own.getsockname())
            return probe.events(namespace)

        eventually(stamped, _PATIENCE_S)
        yield probe


def _parts(event: Event) -> dict[str, int]:
    """Length of each part that is told, in ns."""
    prefix = "netagent.latency."
    return {
        key.removeprefix(prefix).removesuffix("_ns"): int(value)
        for key, value in event.attributes.items()
        if key.startswith(prefix)
    }


def _assert_slow_in(part: str, event: Event, took_ns: int) -> None:
    parts, latency_ns = _parts(event), int(event.attributes["netagent.latency_ns"])
    assert parts[part] == max(parts.values()) >= _LEAST_NS
    assert sum(parts.values()) <= latency_ns < took_ns
    places = [event.body.index(f" {name}") for name in ("latency", *parts)]
    assert all(one < next_one for one, next_one in pairwise(places)), event.body


def _sees_connections_routed(probe: Running) -> bool:
    """Whether the function is there that finds a segment's socket and route, over IPv6 (bpf/kernellatency.bpf.c)."""
    (way,) = [hook.way for hook in probe.probe.hooks if hook.purpose == "parts of receiving IPv6"]
    assert way
    return way.endswith("/tcp_v6_early_demux")


def test_every_part_can_be_had(telling_all: Running, access: KernelAccess) -> None:
    assert [hook for hook in telling_all.probe.hooks if hook.way is None] == []
    if access.facts and not access.facts.source.in_kernel:
        assert [hook for hook in telling_all.probe.hooks if hook.way and hook.way.startswith("fentry/")] == []


@pytest.mark.parametrize("hook", _RECEIVING)
@pytest.mark.parametrize("family", _FAMILIES, ids=lambda family: family.name)
def test_a_segment_received_is_slow_in_its_part(telling_all: Running, wire: Wire, family: Family, hook: str) -> None:
    with accepted(wire, family) as (reader, puppet):
        telling_all.events()
        match = f"tcp dport {port_of(reader)} tcp flags & psh == psh"
        with endless_rules(wire.host.namespace, hook, match, _RULES):
            begin = time.monotonic_ns()
            puppet.send(PSH_ACK, b"data")
            took = time.monotonic_ns() - begin
        reader.recv(4)
        events = telling_all.events(wire.host.namespace)
    (received,) = [event for event in events if event.type.name == "RXKERNEL_SLOW"]
    if family is Family.IPV6 and not _sees_connections_routed(telling_all):
        assert _parts(received).keys() == {"local_in"}
        return
    assert _parts(received).keys() == {"prerouting", "route", "local_in"}
    _assert_slow_in(_RECEIVING[hook], received, took)


@pytest.mark.parametrize("hook", _RECEIVING)
@pytest.mark.parametrize("family", _FAMILIES, ids=lambda family: family.name)
def test_a_datagram_is_slow_in_its_part(telling_all: Running, pair: Pair, family: Family, hook: str) -> None:
    with datagram(pair.server, family) as reader, datagram(pair.client, family) as sender:
        reader.settimeout(_PATIENCE_S)
        telling_all.events()
        with endless_rules(pair.server.namespace, hook, f"udp dport {port_of(reader)}", _RULES):
            begin = time.monotonic_ns()
            sender.sendto(b"data", reader.getsockname())
            reader.recv(4)
            took = time.monotonic_ns() - begin
        (received,) = telling_all.events(pair.server.namespace)
    assert _parts(received).keys() == {"prerouting", "route", "local_in"}
    _assert_slow_in(_RECEIVING[hook], received, took)


@pytest.mark.parametrize("hook", _SENDING)
@pytest.mark.parametrize("family", _FAMILIES, ids=lambda family: family.name)
def test_a_segment_sent_is_slow_in_its_part(telling_all: Running, pair: Pair, family: Family, hook: str) -> None:
    with connected(pair, family) as (caller, reader, flow):
        telling_all.events()
        match = f"tcp dport {flow.destination.port} tcp flags & psh == psh"
        with endless_rules(pair.client.namespace, hook, match, _RULES):
            begin = time.monotonic_ns()
            caller.sendall(b"data")
            reader.recv(4)
            took = time.monotonic_ns() - begin
        events = telling_all.events(pair.client.namespace)
    (sent,) = [event for event in events if event.type.name == "TXKERNEL_SLOW"]
    assert _parts(sent).keys() == {"local_out", "postrouting"}
    _assert_slow_in(_SENDING[hook], sent, took)
