"""What our eBPF programs write, read by the layout that the compiler gave it: events, map entries, iterator records.

The C structure is the definition; its layout comes from the BTF of the object file. A NamedTuple names the
members that Python reads, by the same names; their order is free.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar

from otel_netagent.kernel.bpf.btf import ARRAY, ENUM, INT, Btf, Member

FieldsT = TypeVar("FieldsT", bound=NamedTuple)

WORD: Final = 8
"""Bytes of a word, as `word_positions` counts them."""

_INTEGERS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}
_offset: Final = attrgetter("offset")


class BadRecord(Exception):
    """A record is shorter than its structure."""


class Layout(Generic[FieldsT]):
    """Reads the members of a structure that the NamedTuple `fields` names: integers as int, arrays as bytes."""

    def __init__(self, btf: Btf, structure: str, fields: type[FieldsT], part: str = "") -> None:
        """Find `structure` in `btf`; with `part`, the structure that is its member of that name.

        Raises KeyError where the structure or a member is not there: the object and this code are not of one build.
        """
        size, members = btf.structure(structure)
        base = 0
        if part:
            whole = _member(members, part, structure)
            base, members = whole.offset, list(btf.members(btf.resolve(whole.type_id)))
        named = [_member(members, name, structure) for name in fields._fields]
        code, position = "=", 0
        for member in sorted(named, key=_offset):
            offset = base + member.offset
            code += f"{offset - position}x{_format(btf, member.type_id)}"
            position = offset + btf.size_of(member.type_id)
        self._make = fields._make
        self._reorder = _reordering(named)
        self._struct = struct.Struct(code)
        self._whole = struct.Struct(f"{code}{size - position}x")

    def read(self, record: bytes) -> FieldsT:
        """The fields of one record. Raises BadRecord."""
        try:
            return self._make(self._reorder(self._struct.unpack_from(record)))
        except struct.error:
            raise BadRecord(f"record of {len(record)} bytes, {self._struct.size} expected") from None

    def read_all(self, records: bytes) -> Iterator[FieldsT]:
        """The fields of each of many records, which lie end to end. Raises BadRecord."""
        return map(self._make, self.read_values(records))

    def read_values(self, records: bytes) -> Iterator[tuple[Any, ...]]:
        """The same, as plain tuples in the order of the fields: cheaper, where there are thousands."""
        try:
            values = self._whole.iter_unpack(records)
            return values if self._reorder is _as_it_is else map(self._reorder, values)
        except struct.error:
            raise BadRecord(f"records of {len(records)} bytes, {self._whole.size} expected of each") from None


def _as_it_is(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return values


def _reordering(named: Sequence[Member]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """From values in the order of memory to the order of `named`, their members."""
    in_memory = sorted(named, key=_offset)
    return _as_it_is if in_memory == named else itemgetter(*map(in_memory.index, named))


def integer(size: int) -> struct.Struct:
    """Reads and writes an integer of `size` bytes: the key of a map, whose size the map knows."""
    return struct.Struct(f"={_INTEGERS[size]}")


def array_of_integers(btf: Btf, structure: str, name: str) -> struct.Struct:
    """Reads the elements of an array, a member of `structure`, from its bytes. Raises KeyError as Layout does."""
    _, members = btf.structure(structure)
    type_id = _member(members, name, structure).type_id
    size = btf.size_of(btf.element(type_id))
    return struct.Struct(f"={btf.size_of(type_id) // size}{_INTEGERS[size]}")


def word_positions(btf: Btf, structure: str, part: str) -> dict[str, range]:
    """Where the members of a part of `structure` are in a record of it, in words of 8 bytes from its beginning.

    Each is such a word, or an array of them. Raises KeyError as Layout does, and where a member is of anything else.
    """
    _, members = btf.structure(structure)
    whole = _member(members, part, structure)
    return {
        each.name: _words(btf, each, whole.offset + each.offset) for each in btf.members(btf.resolve(whole.type_id))
    }


def _words(btf: Btf, member: Member, offset: int) -> range:
    if btf.size_of(btf.element(member.type_id)) != WORD:
        raise KeyError(f"member {member.name} is not made of words of {WORD} bytes")
    return range(offset // WORD, (offset + btf.size_of(member.type_id)) // WORD)


def _member(members: list[Member], name: str, structure: str) -> Member:
    for member in members:
        if member.name == name:
            return member
    raise KeyError(f"structure {structure} has no member {name}")


def _format(btf: Btf, type_id: int) -> str:
    match btf.kind_of(type_id):
        case kind if kind in (INT, ENUM):
            return _INTEGERS[btf.size_of(type_id)]
        case kind if kind == ARRAY:
            return f"{btf.size_of(type_id)}s"
    raise KeyError("only integers and arrays can be read")
