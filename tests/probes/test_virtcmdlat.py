"""Records of control commands of virtio-net are read, or are bad; without the driver the probe says why it cannot run.

Real commands are given where there is a device for them: in guests (tests/vm/inside/test_virtcmdlat.py).
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import BadRecord
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.symbols import Symbols
from otel_netagent.model.event import Event
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import virtcmdlat
from otel_netagent.probes.virtcmdlat import PROBE
from otel_netagent.probing.attach import Attached, Unavailable
from otel_netagent.probing.declaration import Environment
from tests.kernel.held import held
from tests.probes.collected import collected
from tests.probes.commands import command_decoder

Decode: TypeAlias = Callable[[bytes, int], Event]
RECORD = struct.Struct("=QQII QII16s II")
FUNCTIONS = ("virtnet_send_command_reply", "virtnet_send_command")


@pytest.fixture(scope="module")
def decode(kernel: KernelFacts) -> Iterator[Decode]:
    with BpfObject(kernel.objects / "virtcmdlat.bpf.o", ()) as bpf_object:
        assert bpf_object.btf.structure("virtcmdlat_event")[0] == RECORD.size
    with command_decoder() as decode:
        yield decode


# --- Records


def record(  # the fields of struct virtcmdlat_event that matter
    kind: int = 0, latency_ns: int = 37_999_999, command: bytes = b"ip", control: tuple[int, int] = (0, 1)
) -> bytes:
    return RECORD.pack(5_000, 1, 4_026_531_833, kind, latency_ns, 3, 812, command, *control)


def test_a_record_is_read(decode: Decode) -> None:
    event = decode(record(), 1_000)
    assert event.type.name == "VIRTCMDEXCUTE"
    assert (event.time_ns, event.netns_cookie, event.netns) == (6_000, 1, 4_026_531_833)
    assert event.body == "cpu=3 pid=812 latency=37 ms command=ip control=RX/1"
    assert event.attributes == {
        "cpu.logical_number": 3,
        "netagent.latency_ns": 37_999_999,
        "process.pid": 812,
        "process.command": "ip",
        "netagent.virtio_net.class": "RX",
        "netagent.virtio_net.command": 1,
    }


@pytest.mark.parametrize(
    ("latency_ns", "text"), [(0, "0 us"), (820_999, "820 us"), (1_000_000, "1 ms"), (2**62, "4611686018427 ms")]
)
def test_a_latency_is_an_integer_with_its_unit(decode: Decode, latency_ns: int, text: str) -> None:
    assert f" latency={text} " in decode(record(latency_ns=latency_ns), 0).body


def test_a_class_that_has_no_name_here_is_told_by_its_number(decode: Decode) -> None:
    assert decode(record(control=(77, 2)), 0).body.endswith(" control=77/2")


def test_a_command_of_more_than_100_ms_has_a_type_of_its_own(decode: Decode) -> None:
    assert decode(record(kind=1), 0).type.name == "VIRTCMDEXCUTE_100MS"


@given(st.integers(2, 2**32 - 1))
def test_an_unknown_kind_is_bad(decode: Decode, kind: int) -> None:
    with pytest.raises(BadRecord, match=f"^command of unknown kind {kind}$"):
        decode(record(kind=kind), 0)


@given(st.binary(min_size=RECORD.size, max_size=RECORD.size), st.integers(0, 1))
def test_no_record_of_the_right_size_breaks_the_reading(decode: Decode, content: bytes, kind: int) -> None:
    event = decode(content[:20] + kind.to_bytes(4, "little") + content[24:], 0)
    assert event.body.splitlines() == [event.body]


@given(st.binary(max_size=RECORD.size - 1))
def test_a_record_that_is_cut_is_bad(decode: Decode, content: bytes) -> None:
    with pytest.raises(BadRecord):
        decode(content, 0)


# --- The declaration


def test_a_level_of_the_original_is_a_bucket() -> None:
    """Level 15 starts at 33 ms and level 18 at 262 ms, as the specification has it."""
    bounds = PROBE.series[-1].bounds
    for level, bound in enumerate(bounds):
        assert math.floor(math.log2(bound * 1e6 + 0.5)) == level
    assert (round(bounds[15], 3), round(bounds[18], 3)) == (0.033, 0.262)


# --- Numbers


def test_each_counter_shows_its_own_variable(access: KernelAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an object whose programs are left out: no command makes it count."""

    def attach_nothing(
        kernel: KernelFacts, name: str, _hooks: object, prepare: Callable[[BpfObject], None]
    ) -> Attached:
        bpf_object = BpfObject(kernel.objects / f"{name}.bpf.o", ())
        prepare(bpf_object)
        bpf_object.load()
        bpf_object.variable("slower_than_10ms")[0] = 7
        bpf_object.variable("slower_than_100ms")[0] = 3
        return Attached(bpf_object, ())

    monkeypatch.setattr(virtcmdlat, "attach", attach_nothing)
    with collected(PROBE, access) as probe:
        ((_, values),) = probe.rows().items()
    assert (values["virtcmdlatency"], values["virtcmdlatency100ms"]) == (7, 3)


# --- Where it cannot run


def environment(access: KernelAccess, facts: KernelFacts | None) -> Environment:
    return Environment(facts, access.no_kernel, access.walk)


def test_it_runs_or_tells_of_each_way_why_not(access: KernelAccess) -> None:
    """The development machine's kernel has the driver built in, and refuses fentry and kprobes; guests admit them."""
    before = held()
    try:
        probe = PROBE.start(environment(access, access.facts))
    except Unavailable as unavailable:
        refusals = str(unavailable).split("; ")
        ways = [refusal.partition(": ")[0] for refusal in refusals]
        function = next(each for each in FUNCTIONS if f" {each}\n" in Path("/proc/kallsyms").read_text())
        assert ways == [f"{form}/{function}" for form in ("fexit", "kretprobe", "fentry", "kprobe")]
        assert all(refusal.partition(": ")[2] for refusal in refusals)
    else:
        assert all(hook.way for hook in probe.hooks)
        probe.close()
    assert held() == before


def test_without_the_driver_it_says_so(access: KernelAccess, kernel: KernelFacts, tmp_path: Path) -> None:
    (tmp_path / "kallsyms").write_text("ffffffff81000000 T _stext\nffffffff81000010 t vlan_send_command\n")
    facts = dataclasses.replace(kernel)
    vars(facts)["symbols"] = Symbols(tmp_path)
    with pytest.raises(Unavailable, match=r"^the driver virtio_net is not loaded: the kernel has neither virtnet_"):
        PROBE.start(environment(access, facts))


def test_without_a_kernel_it_is_unavailable(access: KernelAccess) -> None:
    with pytest.raises(Unavailable, match=r"^no BTF, say$"):
        PROBE.start(Environment(None, "no BTF, say", access.walk))
