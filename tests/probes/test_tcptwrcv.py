"""What reaches a connection in TIME_WAIT is told, but for what an ordinary close brings there."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.links import Pair
from lab.segments import Flag, Segment
from lab.sockets import listening, port_of, stream
from lab.states import FIN_ACK, PSH_ACK, accepted, led_to
from lab.truth import Family
from lab.waiting import eventually
from lab.wire import Wire
from otel_netagent.kernel.bpf.layout import BadRecord
from otel_netagent.model.event import Event, Severity
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import tcptwrcv
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment, EventSettings
from tests.kernel.held import held
from tests.probes.running import Running, running

FAMILIES = pytest.mark.parametrize("family", list(Family), ids=lambda family: family.value)
TOLD, EXPECTED = False, True


@pytest.fixture(scope="module")
def time_wait(access: KernelAccess) -> Iterator[Running]:
    """The probe, which emits expected events too."""
    with running("tcptwrcv", access, EventSettings(expected=True)) as probe:
        yield probe


def facts(event: Event) -> tuple[object, object, bool]:
    is_expected = event.type.severity is Severity.INFO
    assert is_expected == ("netagent.expected" in event.attributes)
    return event.attributes["netagent.tcp.flags"], event.attributes["netagent.tcp.bytes"], is_expected


@dataclass(frozen=True, slots=True)
class Late:
    """A segment, whose number is wrong by so much, and the facts of its event."""

    flags: Flag
    payload: bytes
    error: int
    told: tuple[str, int, bool]


@FAMILIES
@pytest.mark.parametrize(
    "late",
    [
        Late(FIN_ACK, b"", -1, ("FIN|ACK", 0, TOLD)),
        Late(PSH_ACK, b"late", 0, ("PSH|ACK", 4, TOLD)),
        Late(Flag.SYN, b"", -5, ("SYN", 0, TOLD)),
        Late(Flag.RST, b"", 0, ("RST", 0, TOLD)),
        Late(Flag.ACK, b"", 0, ("ACK", 0, EXPECTED)),
    ],
    ids=lambda late: late.told[0],
)
def test_each_segment_is_judged(time_wait: Running, wire: Wire, family: Family, late: Late) -> None:
    with led_to("TCP_TIME_WAIT", wire, family) as puppet:
        assert time_wait.events(wire.host.namespace) == []
        sequence = (puppet.sequence + late.error) % 2**32
        puppet.send(late.flags, late.payload, sequence_error=late.error)
    (event,) = time_wait.events(wire.host.namespace)
    assert facts(event) == late.told
    assert event.attributes["netagent.tcp.sequence"] == sequence
    assert event.attributes["source.address"] == wire.address(family)
    assert event.body.endswith(f"dport={puppet.sends.destination.port} flags:{late.told[0]}")


@FAMILIES
def test_the_fin_that_is_due_is_expected_and_only_the_first(time_wait: Running, wire: Wire, family: Family) -> None:
    """The program is gone before the peer closes: the FIN comes to the small socket."""
    with accepted(wire, family) as (connected, puppet):
        connected.close()
        puppet.expect(FIN_ACK)
        puppet.send(Flag.ACK)
        puppet.send(FIN_ACK)
        puppet.send(FIN_ACK, sequence_error=-1)
    first, second = time_wait.events(wire.host.namespace)
    assert (facts(first), facts(second)) == (("FIN|ACK", 0, EXPECTED), ("FIN|ACK", 0, TOLD))


@FAMILIES
def test_what_is_too_old_by_its_timestamp_is_told_too(time_wait: Running, wire: Wire, family: Family) -> None:
    """PAWS (RFC 7323, 5): a segment from before, which the network has kept for long."""
    with led_to("TCP_TIME_WAIT", wire, family) as puppet:
        old = Segment(puppet.sends, PSH_ACK, puppet.sequence - 1, puppet.received, b"x", timestamp=1)
        wire.send(old.packet())
    (event,) = time_wait.events(wire.host.namespace)
    assert facts(event) == ("PSH|ACK", 1, TOLD)


@FAMILIES
def test_a_lost_last_ack(time_wait: Running, pair: Pair, family: Family) -> None:
    """Between two kernels: the one that closed last sends its FIN again."""
    with listening(pair.server, family) as listener, stream(pair.client, family) as client:
        client.connect(listener.getsockname()[:2])
        server, _ = listener.accept()
        client_port = port_of(client)
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        rules = f"chain input {{ type filter hook input priority 0; tcp dport {port_of(server)} drop; }}"
        pair.server.namespace.command("nft", "-f", "-", stdin=f"table inet lab {{ {rules}; }}")
        server.close()
        events = eventually(lambda: time_wait.events(pair.client.namespace))
    assert facts(events[0]) == ("FIN|ACK", 0, TOLD)
    assert events[0].attributes["destination.port"] == client_port


def test_an_ordinary_close_is_counted_and_not_told(access: KernelAccess, wire: Wire) -> None:
    with running("tcptwrcv", access) as probe:
        with accepted(wire, Family.IPV4) as (connected, puppet):
            connected.close()
            puppet.expect(FIN_ACK)
            puppet.send(Flag.ACK)
            puppet.send(FIN_ACK)
            puppet.send(Flag.ACK)
        assert probe.events(wire.host.namespace) == []
        assert probe.values(wire.host.namespace) == {}


def test_data_that_reset_fin_wait2_are_not_told_here(time_wait: Running, wire: Wire) -> None:
    with accepted(wire, Family.IPV4) as (connected, puppet):
        connected.close()
        puppet.expect(FIN_ACK)
        puppet.send(Flag.ACK)
        puppet.send(PSH_ACK, b"late")
        puppet.expect(Flag.RST)
    assert time_wait.events(wire.host.namespace) == []


# --- Records

HEADER, FLOW, REST = struct.Struct("=QQII"), struct.Struct("=16s16sHHHBBBBBx"), struct.Struct("=III")


@settings(deadline=None)
@given(
    flow=st.binary(min_size=FLOW.size, max_size=FLOW.size),
    rest=st.binary(min_size=REST.size, max_size=REST.size),
)
def test_no_record_of_the_right_size_breaks_the_reading(time_wait: Running, flow: bytes, rest: bytes) -> None:
    event = time_wait.source.decode(HEADER.pack(1, 2, 3, 0) + flow + rest, 0)
    assert event.body.isprintable()


@settings(deadline=None)
@given(st.data())
def test_a_record_that_is_cut_is_bad(time_wait: Running, data: st.DataObject) -> None:
    whole = bytes(HEADER.size + FLOW.size + REST.size)
    with pytest.raises(BadRecord):
        time_wait.source.decode(whole[: data.draw(st.integers(0, len(whole) - 1))], 0)


def test_close_leaves_nothing(access: KernelAccess) -> None:
    before = held()
    with running("tcptwrcv", access):
        assert (held() - before)["link"] >= 1
    assert held() == before


def test_without_a_kernel_it_is_unavailable(access: KernelAccess) -> None:
    with pytest.raises(Unavailable, match=r"^no BTF, say$"):
        tcptwrcv.PROBE.start(Environment(None, "no BTF, say", access.walk))
