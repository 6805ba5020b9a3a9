"""Records are read as the compiler laid them out: of any structure, and of no other length."""

from __future__ import annotations

import ctypes
import sys
from collections import namedtuple
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.bpf.btf_source import BtfSource
from otel_netagent.kernel.bpf.layout import BadRecord, Layout, array_of_integers, integer, word_positions
from tests.kernel.fixtures import CompileBpf

INTEGERS = {"__u8": ctypes.c_uint8, "__u16": ctypes.c_uint16, "__u32": ctypes.c_uint32, "__u64": ctypes.c_uint64}

Shape = tuple[str, int]
"""A member: the C type, and of how many of it an array is made (0: it is none)."""

STRUCTURES = 60
PART = ("__u16", "head"), ("__u64", "body")


def shapes() -> list[list[Shape]]:
    """Made-up structures, the same in every run: they are compiled all at once, before any example."""
    found: list[list[Shape]] = []

    @seed(1)
    @settings(max_examples=STRUCTURES, database=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(list(INTEGERS)), st.just(0))
            | st.tuples(st.sampled_from(list(INTEGERS)), st.integers(1, 9)),
            min_size=1,
            max_size=8,
        )
    )
    def collect(shape: list[Shape]) -> None:
        found.append(shape)

    collect()
    return found


SHAPES = shapes()


def source(structures: Sequence[Sequence[Shape]]) -> str:
    text = '#include "probe.h"\nstruct part { __u16 head; __u64 body; };\n'
    for number, members in enumerate(structures):
        fields = (f"{kind} m{at}{f'[{count}]' if count else ''};" for at, (kind, count) in enumerate(members))
        text += f"struct s{number} {{ {' '.join(fields)} struct part part; __u8 end; }};\n"
        text += f"const struct s{number} *layout_of_s{number} __attribute__((unused));\n"
    return text


class Part(ctypes.Structure):
    """`struct part`."""

    _fields_ = (("head", ctypes.c_uint16), ("body", ctypes.c_uint64))


def in_c(members: Sequence[Shape]) -> type[ctypes.Structure]:
    """The same structure by the C ABI, as ctypes has it."""
    fields = [
        (f"m{at}", INTEGERS[kind] * count if count else INTEGERS[kind]) for at, (kind, count) in enumerate(members)
    ]
    return type("Structure", (ctypes.Structure,), {"_fields_": [*fields, ("part", Part), ("end", ctypes.c_uint8)]})


def fields(names: Sequence[str]) -> type[Any]:
    """A NamedTuple of these names, known only now."""
    return namedtuple("Fields", names)


class PartFields(NamedTuple):
    """All of `struct part`."""

    head: int
    body: int


@pytest.fixture(scope="module")
def types(compile_bpf: CompileBpf) -> Btf:
    return Btf.load(BtfSource(compile_bpf(source(SHAPES)), in_kernel=False))


def value_of(structure: ctypes.Structure, name: str) -> int | bytes:
    value = getattr(structure, name)
    return bytes(value) if isinstance(value, ctypes.Array) else int(value)


@settings(deadline=None)
@given(st.data())
def test_any_structure_is_read_back(types: Btf, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(SHAPES) - 1))
    structure_type = in_c(SHAPES[number])
    size = ctypes.sizeof(structure_type)
    record = data.draw(st.binary(min_size=size, max_size=size))
    structure = structure_type.from_buffer_copy(record)
    members = [f"m{at}" for at in range(len(SHAPES[number]))] + ["end"]
    wanted = [name for name in data.draw(st.permutations(members)) if data.draw(st.booleans())]
    read = Layout(types, f"s{number}", fields(wanted)).read(record + data.draw(st.binary(max_size=8)))
    assert read._asdict() == {name: value_of(structure, name) for name in wanted}
    part = Layout(types, f"s{number}", PartFields, part="part").read(record)
    assert part == (structure.part.head, structure.part.body)


@settings(deadline=None)
@given(st.data())
def test_a_record_that_ends_too_soon_is_bad(types: Btf, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(SHAPES) - 1))
    structure_type = in_c(SHAPES[number])
    needed = structure_type.end.offset + 1
    length = data.draw(st.integers(0, needed - 1))
    with pytest.raises(BadRecord, match=rf"^record of {length} bytes, {needed} expected$"):
        Layout(types, f"s{number}", fields(["m0", "end"])).read(bytes(length))


@settings(deadline=None)
@given(st.data())
def test_records_that_lie_end_to_end_are_read_one_by_one(types: Btf, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(SHAPES) - 1))
    size = ctypes.sizeof(in_c(SHAPES[number]))
    records = data.draw(st.lists(st.binary(min_size=size, max_size=size), max_size=4))
    for layout in (
        Layout(types, f"s{number}", fields(["m0", "end"])),
        Layout(types, f"s{number}", PartFields, part="part"),
    ):
        assert list(layout.read_all(b"".join(records))) == [layout.read(record) for record in records]
        with pytest.raises(BadRecord, match=rf"^records of {size - 1} bytes, {size} expected of each$"):
            layout.read_all(bytes(size - 1))


@settings(deadline=None)
@given(st.data())
def test_the_elements_of_an_array_are_read(types: Btf, data: st.DataObject) -> None:
    arrays = [(number, at) for number, shape in enumerate(SHAPES) for at, (_, count) in enumerate(shape) if count]
    number, at = data.draw(st.sampled_from(arrays))
    kind, count = SHAPES[number][at]
    elements = (INTEGERS[kind] * count).from_buffer_copy(data.draw(st.binary(min_size=8 * count, max_size=8 * count)))
    assert list(array_of_integers(types, f"s{number}", f"m{at}").unpack(bytes(elements))) == list(elements)
    with pytest.raises(KeyError, match="has no member nothing"):
        array_of_integers(types, f"s{number}", "nothing")


def test_a_key_is_an_integer_of_its_size() -> None:
    assert [integer(size).pack(1) for size in (1, 2, 4, 8)] == [
        (1).to_bytes(size, sys.byteorder) for size in (1, 2, 4, 8)
    ]
    with pytest.raises(KeyError):
        integer(3)


WORDS = """
#include "probe.h"

struct words { __u64 one; __u64 three[3]; __u64 last; };
struct record { __u64 first; struct words words; __u32 halves; struct words again; };

EXPORT_LAYOUT(record);

struct half { __u32 half[2]; };
struct mixed { struct half half; };

EXPORT_LAYOUT(mixed);
"""


def test_words_are_where_the_compiler_put_them(compile_bpf: CompileBpf) -> None:
    types = Btf.load(BtfSource(compile_bpf(WORDS), in_kernel=False))
    assert word_positions(types, "record", "words") == {"one": range(1, 2), "three": range(2, 5), "last": range(5, 6)}
    assert word_positions(types, "record", "again") == {
        "one": range(7, 8),
        "three": range(8, 11),
        "last": range(11, 12),
    }
    with pytest.raises(KeyError, match="structure record has no member nothing"):
        word_positions(types, "record", "nothing")
    with pytest.raises(KeyError, match="member half is not made of words of 8 bytes"):
        word_positions(types, "mixed", "half")


class Unknown(NamedTuple):
    """Of no structure."""

    no_such_member: int


class Nested(NamedTuple):
    """Asks for a structure as if it were an integer."""

    part: int


def test_what_the_object_does_not_have_is_named(types: Btf) -> None:
    with pytest.raises(KeyError, match="no_such_structure"):
        Layout(types, "no_such_structure", PartFields)
    with pytest.raises(KeyError, match="structure s0 has no member no_such_member"):
        Layout(types, "s0", Unknown)
    with pytest.raises(KeyError, match="structure s0 has no member no_such_part"):
        Layout(types, "s0", PartFields, part="no_such_part")
    with pytest.raises(KeyError, match="only integers and arrays can be read"):
        Layout(types, "s0", Nested)
