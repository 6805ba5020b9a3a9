"""Types from a file are taken if they are the running kernel's, and refused if they are another's.

Files of real other kernels are tried in the guests of tests/vm.
"""

from __future__ import annotations

import fcntl
import platform
import re
import socket
import struct
import termios
from array import array
from pathlib import Path

import pytest

from lab.namespace import Namespace
from otel_netagent.kernel.bpf import btf_trial
from otel_netagent.kernel.bpf.btf import STRUCT, Btf, BtfInvalid
from otel_netagent.kernel.bpf.btf_source import BtfSource
from otel_netagent.kernel.facts import KernelFacts
from tests.kernel.fixtures import CompileBpf

OTHER_BANNER = b"Linux version 4.19.0-27-amd64 (builder@example) (gcc 8.3.0) #1 SMP Debian 4.19.316-1\n\0"


@pytest.fixture
def copy(tmp_path: Path, kernel: KernelFacts) -> Path:
    """The running kernel's types in a file."""
    path = tmp_path / "own.btf"
    path.write_bytes(kernel.source.path.read_bytes())
    return path


def confirm(path: Path, kernel: KernelFacts) -> None:
    btf_trial.confirm(path, Btf.load(BtfSource(path, in_kernel=False)), kernel.objects)


def move(path: Path, structure: str, member: str) -> None:
    """Let a structure of a file have one of its members eight bytes further on."""
    content = bytearray(path.read_bytes())
    btf = Btf.load(BtfSource(path, in_kernel=False))
    size, members = btf.structure(structure)
    (at,) = (number for number, each in enumerate(members) if each.name == member)
    name = content.index(b"\0" + structure.encode() + b"\0", _strings_of(content)) + 1 - _strings_of(content)
    described = struct.pack("=III", name, STRUCT << 24 | len(members), size)
    described_bitfields = struct.pack("=III", name, 1 << 31 | STRUCT << 24 | len(members), size)
    start = max(content.find(described), content.find(described_bitfields))
    assert start > 0
    position = start + 12 + 12 * at + 8
    (offset,) = struct.unpack_from("=I", content, position)
    struct.pack_into("=I", content, position, offset + 64)
    path.write_bytes(content)


def _strings_of(content: bytes | bytearray) -> int:
    header_size, *_, offset, _ = struct.unpack_from("=4xIIIII", content)
    return int(header_size + offset)


def test_the_kernels_own_are_taken(copy: Path, kernel: KernelFacts) -> None:
    confirm(copy, kernel)


def test_a_trial_leaves_nothing_unread(copy: Path, kernel: KernelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel drops what is in a socket that is closed, which an agent that runs already would tell."""
    unread: list[int] = []

    class Watched(socket.socket):
        def close(self) -> None:
            waiting = array("i", [0])
            fcntl.ioctl(self, termios.FIONREAD, waiting)
            unread.extend(waiting)
            super().close()

    monkeypatch.setattr(socket, "socket", Watched)
    confirm(copy, kernel)
    assert unread == [0]


@pytest.mark.parametrize("obstacle", [
    "ip link set lo down",
    "nft add table ip t { chain out { type filter hook output priority 0; policy drop; }; }",
    "nft add table ip t { chain in { type filter hook input priority 0; policy drop; }; }",
])  # fmt: skip
def test_a_packet_that_does_not_arrive_is_not_held_against_them(
    obstacle: str, copy: Path, kernel: KernelFacts, netns: Namespace
) -> None:
    netns.command(*obstacle.split())
    netns.run(confirm, copy, kernel)
    move(copy, "sock", "sk_protocol")
    with pytest.raises(BtfInvalid, match="the protocol of a socket"):
        netns.run(confirm, copy, kernel)


@pytest.mark.parametrize(
    ("structure", "member", "what"),
    [
        ("task_struct", "pid", "the number of this thread"),
        ("nsproxy", "net_ns", "the inode of this network namespace"),
        ("sock", "sk_protocol", "the protocol of a socket"),
        ("sock_common", "skc_state", None),  # not read, and so not noticed
        ("sk_buff", "len", "the length of a packet"),
        ("sk_buff", "data", "the content of a packet"),
    ],
)
def test_a_member_that_lies_elsewhere_is_noticed(
    copy: Path, kernel: KernelFacts, structure: str, member: str, what: str | None
) -> None:
    move(copy, structure, member)
    if what is None:
        confirm(copy, kernel)
        return
    with pytest.raises(BtfInvalid) as refused:
        confirm(copy, kernel)
    assert re.fullmatch(
        rf"{copy}: BTF of another kernel than the running {re.escape(platform.release())}: by it, {what} is \d+, "
        r"but is \d+\. Put this kernel's own in its place, or remove it",
        str(refused.value),
    )


def test_an_image_of_another_kernel_is_named(copy: Path, kernel: KernelFacts) -> None:
    with copy.open("ab") as image:
        image.write(bytes(3 << 20) + OTHER_BANNER)
    with pytest.raises(
        BtfInvalid, match=rf"than the running {re.escape(platform.release())}: it is of 4\.19\.0-27-amd"
    ):
        confirm(copy, kernel)


def test_an_image_of_the_running_kernel_may_hold_other_banners_too(copy: Path, kernel: KernelFacts) -> None:
    with copy.open("ab") as image:
        image.write(OTHER_BANNER + bytes(3 << 20) + Path("/proc/version").read_bytes())
    confirm(copy, kernel)


def test_types_of_something_else_are_refused(compile_bpf: CompileBpf, kernel: KernelFacts) -> None:
    path = compile_bpf('#include "probe.h"\nint number;')
    with pytest.raises(BtfInvalid, match=rf"^{path}: BTF of something else than a kernel: it has no struct sk_buff$"):
        confirm(path, kernel)


def test_a_file_that_is_damaged_is_refused_before_a_program_is_loaded_by_it(copy: Path, kernel: KernelFacts) -> None:
    """Which would end this process."""
    content = bytearray(copy.read_bytes())
    strings = _strings_of(content)
    size, members = kernel.btf.structure("net")
    name = content.index(b"\0net\0", strings) + 1 - strings
    start = content.index(struct.pack("=II", name, STRUCT << 24 | len(members)) + struct.pack("=I", size))
    struct.pack_into("=I", content, start + 12 + 4, 0x0FFFFFFF)  # the type of its first member
    copy.write_bytes(content)
    with pytest.raises(BtfInvalid, match=r"own\.btf: no usable BTF: "):
        confirm(copy, kernel)
