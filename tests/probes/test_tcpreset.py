"""Records of resets are read as the kernel side writes them; what is no record is bad, and breaks nothing.

That every real reset is told as it was is asserted in tests/faults.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.links import loopback
from lab.namespace import Namespace
from lab.sockets import handed_to_process, listening, stream
from lab.states import RST_ACK, accepted
from lab.truth import Family
from lab.waiting import eventually
from lab.wire import Wire
from otel_netagent.kernel.bpf.layout import BadRecord
from otel_netagent.model.event import Event
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import catalogue
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment
from tests.kernel.held import held
from tests.probes.running import Running, running

HEADER, FLOW, RESET = struct.Struct("=QQII"), struct.Struct("=16s16sHHHBBBBBx"), struct.Struct("=III16s")
TCP_V4 = (bytes([10, 0, 0, 1]) + bytes(12), bytes([10, 0, 0, 2]) + bytes(12), 80, 4000, 0x0800, 6, 0b11, 0, 0, 0)
NO_SOCKET, ACTIVE, PROCESS, SYN, ESTABLISHED, CLOSING = range(6)
"""enum reset_kind of bpf/tcpreset.bpf.c."""


@pytest.fixture(scope="module")
def tcpreset(access: KernelAccess) -> Iterator[Running]:
    with running("tcpreset", access) as probe:
        yield probe


def record(kind: int, state: int = 0, reason: int = 0, pid: int = 0, command: bytes = b"") -> bytes:
    return HEADER.pack(5_000, 77, 4_026_532_001, kind) + FLOW.pack(*TCP_V4) + RESET.pack(state, reason, pid, command)


def decode(tcpreset: Running, content: bytes) -> Event:
    return tcpreset.source.decode(content, 1_000)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (NO_SOCKET, "TCPRESET_NOSOCK"),
        (ACTIVE, "TCPRESET_ACTIVE"),
        (PROCESS, "TCPRESET_PROCESS"),
        (SYN, "TCP_RCV_RST_SYN"),
        (ESTABLISHED, "TCP_RCV_RST_ESTAB"),
        (CLOSING, "TCP_RCV_RST_TW"),
    ],
)
def test_a_record_is_read(tcpreset: Running, kind: int, name: str) -> None:
    event = decode(tcpreset, record(kind, state=1))
    assert event.type.name == name
    assert (event.time_ns, event.netns, event.netns_cookie) == (6_000, 4_026_532_001, 77)
    assert event.body == "protocol=TCP saddr=10.0.0.1 sport=80 daddr=10.0.0.2 dport=4000 state:TCP_ESTABLISHED"
    assert event.attributes["netagent.tcp.state"] == "TCP_ESTABLISHED"


def test_what_is_not_known_is_not_told(tcpreset: Running) -> None:
    event = decode(tcpreset, record(NO_SOCKET))
    assert event.body == "protocol=TCP saddr=10.0.0.1 sport=80 daddr=10.0.0.2 dport=4000"
    assert {name for name in event.attributes if name.startswith("netagent.")} == set()


def test_a_reason_has_the_kernels_name(tcpreset: Running, access: KernelAccess) -> None:
    assert access.facts is not None
    reasons = access.facts.btf.enumerators("sk_rst_reason")
    for name, number in reasons.items():
        event = decode(tcpreset, record(ACTIVE, reason=number))
        assert event.attributes.get("netagent.tcp.reason") == (name.removeprefix("SK_RST_REASON_") if number else None)
    assert decode(tcpreset, record(ACTIVE, reason=9999)).body.endswith(" reason:REASON_9999")


def test_the_program_that_closed_is_told(tcpreset: Running) -> None:
    event = decode(tcpreset, record(ACTIVE, pid=4711, command=b"a\nname"))
    assert (event.attributes["process.pid"], event.attributes["process.command"]) == (4711, "a?name")
    assert not [name for name in decode(tcpreset, record(ACTIVE)).attributes if name.startswith("process.")]


# --- Whose doing it was


def resets_of(tcpreset: Running, namespace: Namespace) -> list[Event]:
    """Those that the namespace has sent actively since last asked; waits for one."""
    found: list[Event] = []

    def some() -> bool:
        found.extend(event for event in tcpreset.events(namespace) if event.type.name == "TCPRESET_ACTIVE")
        return bool(found)

    eventually(some)
    return found


@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.value)
def test_a_program_that_closes_with_unread_data_is_told(tcpreset: Running, netns: Namespace, family: Family) -> None:
    host = loopback(netns).client
    tcpreset.events(netns)
    with listening(host, family) as listener, stream(host, family) as client:
        client.connect(listener.getsockname())
        connected, _ = listener.accept()
        with handed_to_process(connected) as holder:
            client.sendall(b"unread")
            holder.kill()
        (event,) = resets_of(tcpreset, netns)
    assert (event.attributes["process.pid"], event.attributes["process.command"]) == (holder.pid, "cat")


def test_nobody_is_told_where_a_timer_resets(tcpreset: Running, wire: Wire) -> None:
    """The softirq of the timer interrupts whichever process runs."""
    tcpreset.events(wire.host.namespace)
    with accepted(wire, Family.IPV4) as (connected, puppet):
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
            connected.setsockopt(socket.IPPROTO_TCP, option, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        puppet.expect(RST_ACK)
        (event,) = resets_of(tcpreset, wire.host.namespace)
    assert not [name for name in event.attributes if name.startswith("process.")]


# --- What is no record


def test_a_kind_of_a_newer_object_is_bad(tcpreset: Running) -> None:
    with pytest.raises(BadRecord, match=r"^reset of unknown kind 6$"):
        decode(tcpreset, record(CLOSING + 1))


@settings(deadline=None)
@given(
    kind=st.integers(NO_SOCKET, CLOSING),
    flow=st.binary(min_size=44, max_size=44),
    rest=st.binary(min_size=28, max_size=28),
)
def test_no_record_of_the_right_size_breaks_the_reading(tcpreset: Running, kind: int, flow: bytes, rest: bytes) -> None:
    event = decode(tcpreset, HEADER.pack(0, 0, 0, kind) + flow + rest)
    assert event.body.isprintable()


@settings(deadline=None)
@given(st.data())
def test_a_record_that_is_cut_is_bad(tcpreset: Running, data: st.DataObject) -> None:
    whole = record(ACTIVE, 1, 2, 3, b"command")
    with pytest.raises(BadRecord):
        decode(tcpreset, whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_close_leaves_nothing(access: KernelAccess) -> None:
    before = held()
    with running("tcpreset", access) as probe:
        assert all(status.way or status.refused for status in probe.probe.hooks)
        assert (held() - before)["link"] == (held() - before)["program"]
    assert held() == before


def test_without_a_kernel_it_is_unavailable(access: KernelAccess) -> None:
    with pytest.raises(Unavailable, match=r"^no BTF, say$"):
        catalogue()["tcpreset"].start(Environment(None, "no BTF, say", access.walk))
