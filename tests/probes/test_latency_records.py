"""Records of latencies are read as the kernel side writes them; what is no record is bad, and breaks nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import BadRecord
from otel_netagent.pipeline.kernel_access import OBJECTS, KernelAccess
from otel_netagent.probes import catalogue
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment
from otel_netagent.probing.receive_timestamps import PART_HOOKS
from tests.kernel.held import held
from tests.probes.running import Running, running

HEADER = struct.Struct("=QQII")
PROBES = ("socketlatency", "kernellatency", "netiftxlat")
LINKS = {hook.purpose: len(hook.methods[0].programs) for hook in PART_HOOKS}
FLOW = struct.Struct("=16s16sHHHBBBBBx")
TCP_V4 = (bytes([10, 0, 0, 1]) + bytes(12), bytes([10, 0, 0, 2]) + bytes(12), 80, 4000, 0x0800, 6, 0b11, 0, 0, 0)
FLOW_TEXT = "protocol=TCP saddr=10.0.0.1 sport=80 daddr=10.0.0.2 dport=4000"


@pytest.fixture(scope="module", params=PROBES)
def probe(request: pytest.FixtureRequest, access: KernelAccess) -> Iterator[tuple[Running, int]]:
    """A running probe, and the size of its records."""
    name: str = request.param
    with BpfObject(OBJECTS / f"{name}.bpf.o", ()) as bpf_object:
        size, _ = bpf_object.btf.structure(f"{name}_event")
    with running(name, access) as started:
        yield started, size


@given(data=st.data(), kind=st.integers(0, 1))
def test_no_record_of_the_right_size_breaks_the_reading(
    probe: tuple[Running, int], data: st.DataObject, kind: int
) -> None:
    running_probe, size = probe
    rest = data.draw(st.binary(min_size=size - HEADER.size, max_size=size - HEADER.size))
    event = running_probe.source.decode(HEADER.pack(5, 7, 9, kind) + rest, 1_000)
    assert (event.time_ns, event.netns_cookie, event.netns) == (1_005, 7, 9)
    assert event.body.isprintable()


def test_a_kind_of_a_newer_object_is_bad(probe: tuple[Running, int]) -> None:
    running_probe, size = probe
    with pytest.raises(BadRecord, match=r"latency of unknown kind 2$"):
        running_probe.source.decode(HEADER.pack(0, 0, 0, 2) + bytes(size), 0)


@given(st.data())
def test_a_record_that_is_cut_is_bad(probe: tuple[Running, int], data: st.DataObject) -> None:
    running_probe, _ = probe
    with pytest.raises(BadRecord):
        running_probe.source.decode(data.draw(st.binary(max_size=HEADER.size + FLOW.size)), 0)


@pytest.mark.parametrize(
    ("latency_ns", "text"),
    [(820_999, "820 us"), (1_000_000, "1 ms"), (37_999_999, "37 ms"), (0, "0 us"), (90_000_000_000, "90000 ms")],
)
def test_a_latency_is_an_integer_with_its_unit(probe: tuple[Running, int], latency_ns: int, text: str) -> None:
    running_probe, size = probe
    record = HEADER.pack(0, 0, 0, 1) + FLOW.pack(*TCP_V4) + bytes(-(HEADER.size + FLOW.size) % 8)
    event = running_probe.source.decode(record + struct.pack("=Q", latency_ns) + bytes(size), 0)
    assert event.body.startswith(f"{FLOW_TEXT} latency={text}")
    assert event.attributes["netagent.latency_ns"] == latency_ns


@pytest.mark.parametrize("name", PROBES)
def test_close_leaves_nothing(access: KernelAccess, name: str) -> None:
    before = held()
    with running(name, access) as started:
        assert all(status.way or status.refused for status in started.probe.hooks)
        assert (held() - before)["link"] == sum(LINKS.get(each.purpose, 1) for each in started.probe.hooks if each.way)
    assert held() == before


@pytest.mark.parametrize("name", PROBES)
def test_without_a_kernel_it_is_unavailable(access: KernelAccess, name: str) -> None:
    with pytest.raises(Unavailable, match=r"^no BTF, say$"):
        catalogue()[name].start(Environment(None, "no BTF, say", access.walk))
