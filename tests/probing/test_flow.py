"""A flow is told with all that is known of it, in the text line and in the attributes."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import Layout
from otel_netagent.model.attribute import line_of
from otel_netagent.probing.flow import FLOW, Flow, FlowParts, flow_attributes, tcp_flags_text
from tests.kernel.fixtures import CompileBpf

IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
BOTH = FlowParts.ADDRESSES | FlowParts.PORTS


def v4(address: str) -> bytes:
    return ipaddress.IPv4Address(address).packed + bytes(12)


def v6(address: str) -> bytes:
    return ipaddress.IPv6Address(address).packed


def flow(
    source: bytes = v4("10.0.0.1"),
    destination: bytes = v4("10.0.0.2"),
    ethertype: int = IPV4,
    *,
    protocol: int = 6,
    known: int = BOTH,
    icmp: tuple[int, int] = (0, 0),
) -> Flow:
    return Flow(source, destination, 40_000, 443, ethertype, protocol, known, *icmp)


def line(told: Flow) -> str:
    return line_of((each for each in FLOW if each.before), flow_attributes(told))


IPV6_ENDS = v6("fd00::1"), v6("2001:db8::2")


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (flow(), "protocol=TCP saddr=10.0.0.1 sport=40000 daddr=10.0.0.2 dport=443"),
        (flow(protocol=17), "protocol=UDP saddr=10.0.0.1 sport=40000 daddr=10.0.0.2 dport=443"),
        (flow(*IPV6_ENDS, IPV6), "protocol=TCP saddr=fd00::1 sport=40000 daddr=2001:db8::2 dport=443"),
        (
            flow(v6("::ffff:10.0.0.1"), v6("::ffff:10.0.0.2"), IPV6),
            "protocol=TCP saddr=10.0.0.1 sport=40000 daddr=10.0.0.2 dport=443",
        ),
        (
            flow(protocol=1, known=FlowParts.ADDRESSES | FlowParts.ICMP, icmp=(3, 13)),
            "protocol=ICMP saddr=10.0.0.1 daddr=10.0.0.2 icmp_type=3 icmp_code=13",
        ),
        (
            flow(*IPV6_ENDS, IPV6, protocol=58, known=FlowParts.ADDRESSES | FlowParts.ICMP, icmp=(1, 4)),
            "protocol=ICMPv6 saddr=fd00::1 daddr=2001:db8::2 icmp_type=1 icmp_code=4",
        ),
        (
            flow(protocol=17, known=FlowParts.ADDRESSES | FlowParts.FRAGMENT),
            "protocol=UDP saddr=10.0.0.1 daddr=10.0.0.2 fragment=later",
        ),
        (
            flow(known=FlowParts.ADDRESSES | FlowParts.TRUNCATED),
            "protocol=TCP saddr=10.0.0.1 daddr=10.0.0.2 header=truncated",
        ),
        (flow(known=FlowParts.TRUNCATED), "protocol=IPv4 header=truncated"),
        (flow(protocol=253, known=FlowParts.ADDRESSES), "protocol=253 saddr=10.0.0.1 daddr=10.0.0.2"),
        (flow(ethertype=ARP, known=0), "protocol=ARP"),
        (flow(ethertype=0x88F7, known=0), "protocol=0x88f7"),
        (flow(ethertype=0, known=0), "protocol=0x0000"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_the_text_shows_what_is_known(told: Flow, text: str) -> None:
    assert line(told) == text


def test_attributes_have_the_names_of_the_conventions() -> None:
    assert flow_attributes(flow()) == {
        "network.transport": "tcp",
        "network.type": "ipv4",
        "source.address": "10.0.0.1",
        "source.port": 40_000,
        "destination.address": "10.0.0.2",
        "destination.port": 443,
    }


def test_a_mapped_address_is_ipv4_on_the_wire() -> None:
    """A socket of AF_INET6 talks IPv4 under such addresses, and may be bound to none (::)."""
    attributes = flow_attributes(flow(bytes(16), v6("::ffff:192.0.2.7"), IPV6))
    assert (attributes["network.type"], attributes["source.address"]) == ("ipv4", "0.0.0.0")  # noqa: S104 - no bind


def test_what_is_not_known_is_no_attribute() -> None:
    assert flow_attributes(flow(ethertype=ARP, known=0)) == {"network.transport": "arp"}
    icmp = flow_attributes(flow(protocol=1, known=FlowParts.ADDRESSES | FlowParts.ICMP, icmp=(3, 13)))
    assert {"source.port", "destination.port"}.isdisjoint(icmp)
    assert (icmp["netagent.icmp.type"], icmp["netagent.icmp.code"]) == (3, 13)


flows = st.builds(
    Flow,
    saddr=st.binary(min_size=16, max_size=16),
    daddr=st.binary(min_size=16, max_size=16)
    | st.binary(min_size=4, max_size=4).map((bytes(10) + b"\xff\xff").__add__),
    sport=st.integers(0, 65535),
    dport=st.integers(0, 65535),
    ethertype=st.integers(0, 65535) | st.sampled_from([IPV4, IPV6, ARP]),
    protocol=st.integers(0, 255),
    known=st.integers(0, 255),
    icmp_type=st.integers(0, 255),
    icmp_code=st.integers(0, 255),
)


PARTS = {
    FlowParts.ADDRESSES: {"saddr": "source.address", "daddr": "destination.address"},
    FlowParts.PORTS: {"sport": "source.port", "dport": "destination.port"},
    FlowParts.ICMP: {"icmp_type": "netagent.icmp.type", "icmp_code": "netagent.icmp.code"},
    FlowParts.FRAGMENT: {"fragment": "netagent.packet.fragment"},
    FlowParts.TRUNCATED: {"header": "netagent.packet.header"},
}
"""Parts of the text, and the attributes of the same value, that are there when all this is known."""


@given(flows)
def test_of_any_flow_all_that_is_known_is_told_and_nothing_else(told: Flow) -> None:
    parts = dict(part.split("=", 1) for part in line(told).split(" "))
    attributes = flow_attributes(told)
    expected = {
        part: name for needed, names in PARTS.items() if told.known & needed == needed for part, name in names.items()
    }
    assert parts.keys() == {"protocol", *expected}
    assert parts["protocol"].lower() == attributes["network.transport"]
    assert {part: parts[part] for part in expected} == {part: str(attributes[name]) for part, name in expected.items()}


@given(flows)
def test_the_values_of_any_flow_are_its_own(told: Flow) -> None:
    attributes = flow_attributes(told)
    ports = told.known & FlowParts.PORTS
    assert attributes.get("source.port") == (told.sport if ports else None)
    assert attributes.get("destination.port") == (told.dport if ports else None)
    if told.known & FlowParts.ADDRESSES:
        version = 4 if attributes["network.type"] == "ipv4" else 6
        addresses = [ipaddress.ip_address(str(attributes[f"{end}.address"])) for end in ("source", "destination")]
        assert [address.version for address in addresses] == [version, version]
        assert [address.packed in whole for address, whole in zip(addresses, told[:2], strict=True)] == [True, True]


@given(flows)
def test_the_text_is_one_line_of_words(told: Flow) -> None:
    assert line(told).isprintable()


# --- The C side

TINY = r"""
#include "event.h"
#include "flow.h"
EXPORT_LAYOUT(flow);
const volatile __u32 known[] = {
	FLOW_ADDRESSES, FLOW_PORTS, FLOW_ICMP, FLOW_FRAGMENT, FLOW_TRUNCATED, FLOW_TCP_FLAGS,
};
"""


def test_both_sides_mean_the_same_by_known(compile_bpf: CompileBpf) -> None:
    with BpfObject(compile_bpf(TINY), ()) as bpf_object:
        assert bpf_object.variable("known").tolist() == [
            FlowParts.ADDRESSES,
            FlowParts.PORTS,
            FlowParts.ICMP,
            FlowParts.FRAGMENT,
            FlowParts.TRUNCATED,
            FlowParts.TCP_FLAGS,
        ]


def test_the_record_is_read_by_its_c_layout(compile_bpf: CompileBpf) -> None:
    record = struct.pack("=16s16sHHHBBBBBB", *IPV6_ENDS, 1, 2, IPV6, 17, BOTH, 3, 4, 5, 6)
    with BpfObject(compile_bpf(TINY), ()) as bpf_object:
        read = Layout(bpf_object.btf, "flow", Flow).read(record)
    assert read == Flow(*IPV6_ENDS, 1, 2, IPV6, 17, BOTH, 3, 4, 5)


def test_flags_are_told_by_their_names() -> None:
    assert tcp_flags_text(0x12) == "SYN|ACK"
    assert tcp_flags_text(0xFF) == "FIN|SYN|RST|PSH|ACK|URG|ECE|CWR"
    assert tcp_flags_text(0) == "none"
