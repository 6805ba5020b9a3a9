"""BTF says of types what the compiler and the kernel say of them by other ways."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from otel_netagent.kernel.bpf import libbpf
from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.btf import ARRAY, DATASEC, ENUM, FORWARD, FUNCTION_PROTO, STRUCT, TYPEDEF, Btf, BtfInvalid
from otel_netagent.kernel.bpf.btf_source import BtfSource
from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.facts import KernelFacts
from tests.kernel.fixtures import CompileBpf

# --- The kernel's own types


@pytest.fixture(scope="module")
def tracefs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kernel's other description of its events."""
    directory = tmp_path_factory.mktemp("tracefs")
    subprocess.run(["mount", "-t", "tracefs", "tracefs", directory], check=True)
    yield directory
    subprocess.run(["umount", directory], check=True)


@pytest.mark.parametrize(
    ("event", "enumeration", "prefix"),
    [
        ("skb/kfree_skb", "skb_drop_reason", "SKB_DROP_REASON_"),
        ("tcp/tcp_send_reset", "sk_rst_reason", "SK_RST_REASON_"),
    ],
)
def test_enumerators_are_those_of_the_events_format(
    kernel: KernelFacts, tracefs: Path, event: str, enumeration: str, prefix: str
) -> None:
    shown = re.findall(r"\{ (\d+), \"(\w+)\" \}", (tracefs / "events" / event / "format").read_text())
    names = {prefix + name: int(number) for number, name in shown if not name.startswith("TCP_")}
    names |= {
        prefix + name: int(number) for number, name in shown if prefix + name in kernel.btf.enumerators(enumeration)
    }
    assert names.items() <= kernel.btf.enumerators(enumeration).items()
    assert f"{prefix}NOT_SPECIFIED" in names


@pytest.mark.parametrize(
    ("protocol", "last"), [("TCP_MIB_", "CSUMERRORS"), ("UDP_MIB_", "NOPORTS"), ("LINUX_MIB_", "LISTENDROPS")]
)
def test_an_enumeration_without_a_name_is_found_by_an_enumerator(kernel: KernelFacts, protocol: str, last: str) -> None:
    values = kernel.btf.anonymous_enumerators(f"{protocol}NUM")
    assert {*values.values()} == {*range(len(values))}
    assert values[f"{protocol}NUM"] == 0
    assert protocol + last in values


@pytest.mark.parametrize(
    ("structure", "member", "there"),
    [
        ("net", "loopback_dev", True),
        ("sk_buff", "dev", True),  # in a structure in a union, neither of which has a name
        ("sk_buff", "no_such_member", False),
        ("no_such_structure", "dev", False),
        ("trace_event_raw_kfree_skb", "location", True),
    ],
)
def test_a_member_is_there_or_not(kernel: KernelFacts, structure: str, member: str, there: bool) -> None:
    assert kernel.btf.has_member(structure, member) is there


def test_what_the_kernel_has_not_is_empty(kernel: KernelFacts) -> None:
    assert kernel.btf.enumerators("no_such_enumeration") == {}
    assert kernel.btf.anonymous_enumerators("NO_SUCH_ENUMERATOR") == {}
    with pytest.raises(KeyError, match="no_such_structure"):
        kernel.btf.structure("no_such_structure")


# --- Types of a made-up source, against ctypes

SOURCE = r"""
#include "probe.h"

enum colour { RED = 3, GREEN, BLUE = -7 };
enum { FIRST = 1, SECOND = 20, LAST };
typedef __u32 number;
typedef const volatile number qualified;

struct point { __u8 flag; __u64 x; __u16 y; };

struct everything {
	__u8 letter;
	struct point inner;
	struct {
		__u16 hidden;
		union { __u32 either; __u64 or; };
	};
	enum colour colour;
	__u8 bytes[3];
	__u32 grid[2][5];
	qualified last;
	__u32 low : 3, high : 29;
	__u8 tail;
};

const struct everything *layout_of_everything __attribute__((unused));
const volatile enum colour chosen;
const volatile int anonymous = SECOND;
enum { A_OTHER = 5 } *layout_of_other __attribute__((unused));
__u64 counts[7];
__u32 total;
"""


class Point(ctypes.Structure):
    """`struct point`."""

    _fields_ = (("flag", ctypes.c_uint8), ("x", ctypes.c_uint64), ("y", ctypes.c_uint16))


class _Either(ctypes.Union):
    _fields_ = (("either", ctypes.c_uint32), ("or", ctypes.c_uint64))


class _Hidden(ctypes.Structure):
    _anonymous_ = ("union",)
    _fields_ = (("hidden", ctypes.c_uint16), ("union", _Either))


class Everything(ctypes.Structure):
    """`struct everything`."""

    _anonymous_ = ("nameless",)
    _fields_ = (
        ("letter", ctypes.c_uint8),
        ("inner", Point),
        ("nameless", _Hidden),
        ("colour", ctypes.c_int),
        ("bytes", ctypes.c_uint8 * 3),
        ("grid", ctypes.c_uint32 * 5 * 2),
        ("last", ctypes.c_uint32),
        ("low", ctypes.c_uint32, 3),
        ("high", ctypes.c_uint32, 29),
        ("tail", ctypes.c_uint8),
    )


@pytest.fixture(scope="module")
def made_up(compile_bpf: CompileBpf) -> Btf:
    return Btf.load(BtfSource(compile_bpf(SOURCE), in_kernel=False))


def test_a_structure_lies_as_the_c_abi_has_it(made_up: Btf) -> None:
    size, members = made_up.structure("everything")
    offsets = {member.name: member.offset for member in members if member.name}
    assert size == ctypes.sizeof(Everything)
    assert offsets == {name: getattr(Everything, name).offset for name in offsets}
    assert list(offsets) == ["letter", "inner", "colour", "bytes", "grid", "last", "low", "high", "tail"]


def test_sizes_are_those_of_the_c_abi(made_up: Btf) -> None:
    _, members = made_up.structure("everything")
    sizes = {member.name: made_up.size_of(member.type_id) for member in members}
    truth = {"letter": 1, "inner": ctypes.sizeof(Point), "colour": 4, "bytes": 3, "grid": 40, "last": 4, "tail": 1}
    assert {name: sizes[name] for name in truth} == truth


def test_members_of_nameless_parts_are_members(made_up: Btf) -> None:
    assert [name for name in ("hidden", "either", "or", "letter") if made_up.has_member("everything", name)] == [
        "hidden",
        "either",
        "or",
        "letter",
    ]
    assert not made_up.has_member("everything", "flag")  # inner.flag is not


def test_enumerators_have_their_values(made_up: Btf) -> None:
    assert made_up.enumerators("colour") == {"RED": 3, "GREEN": 4, "BLUE": -7}
    assert made_up.anonymous_enumerators("A_OTHER") == {"A_OTHER": 5}


def test_variables_lie_where_the_symbol_table_has_them(compile_bpf: CompileBpf) -> None:
    """The compiler leaves their offsets open, and libbpf fills them in."""
    path = compile_bpf(SOURCE)
    shown = subprocess.run(["llvm-nm", path], check=True, text=True, stdout=subprocess.PIPE).stdout
    symbols = {name: int(value, 16) for value, _, name in map(str.split, shown.splitlines())}
    with BpfObject(path, ()) as bpf_object:
        btf = bpf_object.btf
        found = {
            name: (section, offset, type_id)
            for section in (".bss", ".rodata")
            for name, offset, type_id in btf.section_variables(section)
        }
    assert {"counts", "total", "chosen", "anonymous"} <= found.keys()
    assert {name: offset for name, (_, offset, _) in found.items()} == {name: symbols[name] for name in found}
    assert [found[name][0] for name in ("counts", "total", "chosen")] == [".bss", ".bss", ".rodata"]
    assert [btf.size_of(found[name][2]) for name in ("counts", "total", "chosen")] == [56, 4, 4]
    assert ".bss" in btf.names(DATASEC)
    assert list(btf.section_variables(".no_such_section")) == []


def test_an_array_of_any_dimensions_is_made_of_its_element(made_up: Btf) -> None:
    _, members = made_up.structure("everything")
    grid = next(member for member in members if member.name == "grid")
    assert made_up.array(grid.type_id)[1] == 2
    assert made_up.size_of(made_up.element(grid.type_id)) == 4
    assert made_up.element(members[0].type_id) == members[0].type_id


# --- Files that are no BTF, or damaged


def header(types: int, strings: int) -> bytes:
    """Of raw BTF in this machine's byte order (Documentation/bpf/btf.rst)."""
    return struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, types, types, strings)


def load_bytes(directory: Path, content: bytes) -> Btf:
    path = directory / "odd.btf"
    path.write_bytes(content)
    return Btf.load(BtfSource(path, in_kernel=False))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\x9f",
        b"\x9f\xeb\x01\0",
        b"\x7fELF",
        header(10, 10),
        header(0, 1) + b"x",
        header(12, 1) + bytes(12),
    ],
    ids=repr,
)
def test_a_file_that_is_no_btf_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BtfInvalid) as invalid:
        load_bytes(tmp_path, content)
    assert re.fullmatch(rf"{tmp_path}/odd\.btf: no usable BTF: .+", str(invalid.value))


DANGLING = {
    "name": struct.pack("=III", 1000, FORWARD << 24, 0),
    "name of a member": struct.pack("=IIIIII", 1, STRUCT << 24 | 1, 4, 1000, 0, 0),
    "name of an enumerator": struct.pack("=IIIII", 1, ENUM << 24 | 1, 4, 1000, 0),
    "type": struct.pack("=III", 1, TYPEDEF << 24, 2),
    "type of a member": struct.pack("=IIIIII", 1, STRUCT << 24 | 1, 4, 1, 2, 0),
    "element": struct.pack("=IIIIII", 0, ARRAY << 24, 0, 2, 1, 2),
    "index": struct.pack("=IIIIII", 0, ARRAY << 24, 0, 1, 2, 2),
    "type of an argument": struct.pack("=IIIII", 0, FUNCTION_PROTO << 24 | 1, 0, 0, 2),
    "result": struct.pack("=III", 0, FUNCTION_PROTO << 24, 2),
    "variable of a section": struct.pack("=IIIIII", 1, DATASEC << 24 | 1, 4, 2, 0, 4),
}


@pytest.mark.parametrize("what", DANGLING)
def test_what_refers_to_nothing_is_refused(tmp_path: Path, what: str) -> None:
    """The library of Debian 12 takes such a file, and then ends the process that loads a program by it."""
    types = DANGLING[what]
    with pytest.raises(BtfInvalid, match=rf"^{tmp_path}/odd\.btf: no usable BTF: [^\n]+$"):
        load_bytes(tmp_path, header(len(types), 3) + types + b"\0a\0").verify(tmp_path / "odd.btf")


def test_the_kernels_own_types_are_whole(kernel: KernelFacts) -> None:
    kernel.btf.verify(kernel.source.path)


def test_an_elf_file_without_btf_says_so(tmp_path: Path, compile_bpf: CompileBpf) -> None:
    bare = tmp_path / "bare.o"
    subprocess.run(["llvm-objcopy", "--remove-section=.BTF*", compile_bpf(SOURCE), bare], check=True)
    with pytest.raises(BtfInvalid, match=r"bare\.o: no usable BTF: .*\.BTF"):
        Btf.load(BtfSource(bare, in_kernel=False))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BtfInvalid, match=rf"^{tmp_path}/none: no usable BTF: ENOENT "):
        Btf.load(BtfSource(tmp_path / "none", in_kernel=False))


SELF: dict[str, bytes] = {
    "typedef": struct.pack("=III", 1, TYPEDEF << 24, 1),
    "array": struct.pack("=IIIIII", 0, ARRAY << 24, 0, 1, 1, 2),
    "structure": struct.pack("=IIIIII", 1, STRUCT << 24 | 1, 4, 0, 1, 0),
}


@pytest.mark.parametrize("kind", SELF)
def test_a_type_that_is_within_itself_has_an_end(tmp_path: Path, kind: str) -> None:
    with contextlib.suppress(BtfInvalid):  # which only a later library sees at once
        btf = load_bytes(tmp_path, header(len(SELF[kind]), 3) + SELF[kind] + b"\0a\0")
        assert not btf.has_member("a", "b")
        btf.element(1)
        assert kind == "structure"


def test_a_type_that_is_not_there_is_named(tmp_path: Path) -> None:
    types = struct.pack("=IIIIII", 1, STRUCT << 24 | 1, 4, 1, 77, 0)
    with pytest.raises(BtfInvalid, match=r"\b77\b"):
        ask_everything(load_bytes(tmp_path, header(len(types), 3) + types + b"\0a\0"))


def ask_everything(btf: Btf) -> None:
    """Ask all that can be asked of each structure, enumeration and section."""
    for name in btf.names(ENUM):
        btf.enumerators(name)
        btf.anonymous_enumerators(name)
    for name in btf.names(DATASEC):
        list(btf.section_variables(name))
    for name in filter(None, btf.names(STRUCT)):
        btf.has_member(name, "")
        for member in btf.structure(name)[1]:
            btf.size_of(member.type_id)
            btf.kind_of(btf.element(member.type_id))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(types=st.binary(max_size=120), strings=st.binary(max_size=30))
@example(types=struct.pack("=III", 1, 4 << 24 | 65535, 0), strings=b"a\0")
def test_damaged_types_are_refused_or_read(tmp_path: Path, types: bytes, strings: bytes) -> None:
    strings = b"\0" + strings + b"\0"
    with contextlib.suppress(BtfInvalid, KeyError):  # a damaged name cannot be asked for
        ask_everything(load_bytes(tmp_path, header(len(types), len(strings)) + types + strings))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_read(tmp_path: Path, made_up_raw: bytes, data: st.DataObject) -> None:
    raw = bytearray(made_up_raw)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.just(len(raw)) | st.integers(0, len(raw)))
    with contextlib.suppress(BtfInvalid, KeyError):  # a damaged name cannot be asked for
        ask_everything(load_bytes(tmp_path, bytes(raw[:end])))


@pytest.fixture(scope="module")
def made_up_raw(compile_bpf: CompileBpf, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The section .BTF of the made-up source."""
    section = tmp_path_factory.mktemp("btf") / "raw"
    subprocess.run(["llvm-objcopy", f"--dump-section=.BTF={section}", compile_bpf(SOURCE), "/dev/null"], check=True)
    return section.read_bytes()


def test_raw_and_in_an_elf_file_are_the_same(made_up: Btf, made_up_raw: bytes, tmp_path: Path) -> None:
    raw = load_bytes(tmp_path, made_up_raw)
    assert raw.structure("everything") == made_up.structure("everything")
    assert raw.names(STRUCT) == made_up.names(STRUCT)


# --- How long it is there


@pytest.fixture
def freed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What libbpf is told to free."""
    library, handles = libbpf.load(), list[int]()
    free = library.btf__free

    def freeing(handle: int) -> None:
        handles.append(handle)
        free(handle)

    monkeypatch.setattr(library, "btf__free", freeing)
    return handles


def test_types_are_there_until_nobody_asks_any_more(compile_bpf: CompileBpf, freed: list[int]) -> None:
    btf = Btf.load(BtfSource(compile_bpf(SOURCE), in_kernel=False))
    members, whole = btf.members(btf._find("everything", STRUCT) or 0), btf.structure("everything")[1]
    del btf
    gc.collect()
    assert freed == []
    assert list(members) == whole
    del members
    assert len(freed) == 1


def test_an_object_that_is_closed_leaves_its_types(compile_bpf: CompileBpf) -> None:
    """Whoever makes a Layout may do so in another thread than the one that closes."""
    with BpfObject(compile_bpf(SOURCE), ()) as bpf_object:
        before = bpf_object.btf.structure("everything")
    assert bpf_object.btf.structure("everything") == before


def test_an_object_without_types_is_refused(compile_bpf: CompileBpf, tmp_path: Path) -> None:
    bare = tmp_path / "bare.o"
    without_maps = '#include "probe.h"\nSEC("raw_tp/kfree_skb") int nothing(void *context) { return 0; }'
    subprocess.run(["llvm-objcopy", "--remove-section=.BTF*", compile_bpf(without_maps), bare], check=True)
    with pytest.raises(BpfError, match=r"bare\.o: it has no BTF"):
        BpfObject(bare, ())
