"""Forged packets are right unless told to be wrong: they survive their own parser, and the kernel takes them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.segments import Flag, Segment, checksum, udp_packet
from lab.sockets import datagram, port_of
from lab.truth import Endpoint, Family, Flow
from lab.wire import Wire

_PORTS = st.integers(0, 2**16 - 1)
_NUMBERS = st.integers(0, 2**32 - 1)


def _flows(addresses: st.SearchStrategy[str]) -> st.SearchStrategy[Flow]:
    ends = st.builds(Endpoint, addresses, _PORTS)
    return st.builds(Flow, st.just("TCP"), ends, ends)


_FLOWS = _flows(st.integers(0, 2**32 - 1).map(IPv4Address).map(str)) | _flows(
    st.integers(0, 2**128 - 1).map(IPv6Address).map(str)
)


@given(st.builds(Segment, _FLOWS, st.sampled_from(Flag), _NUMBERS, _NUMBERS, st.binary(max_size=64), _PORTS))
def test_segment_is_read_as_it_was_written(segment: Segment) -> None:
    assert Segment.parse(segment.packet()) == segment


@given(st.binary(min_size=2, max_size=64).filter(lambda data: len(data) % 2 == 0))
def test_data_with_their_checksum_sum_up_to_zero(data: bytes) -> None:
    assert checksum(data + checksum(data).to_bytes(2)) == 0


@pytest.mark.parametrize("family", Family)
def test_kernel_takes_a_datagram_of_ours(family: Family, wire: Wire) -> None:
    with datagram(wire.host, family) as reader:
        flow = Flow("UDP", Endpoint(wire.address(family), 4000), wire.host.endpoint(family, port_of(reader)))
        wire.send(udp_packet(flow, b"hello"))
        data, sender = reader.recvfrom(10)
    assert data == b"hello"
    assert sender[:2] == (family.socket_address(wire.address(family)), 4000)
