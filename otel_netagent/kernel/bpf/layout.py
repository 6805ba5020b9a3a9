"""Records of our eBPF programs, read by the layout that the compiler gave them.

The C structure is the definition; its layout comes from the BTF of the object file. A NamedTuple names the
members that Python reads, by the same names and in the same order.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from otel_netagent.kernel.bpf.btf import ARRAY, ENUM, INT, Btf, Member

FieldsT = TypeVar("FieldsT", bound=NamedTuple)

_INTEGERS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}


class BadRecord(Exception):
    """A record is shorter than its structure."""


class Layout(Generic[FieldsT]):
    """Reads the members of a structure that the NamedTuple `fields` names: integers as int, arrays as bytes."""

    def __init__(self, btf: Btf, structure: str, fields: type[FieldsT], part: str = "") -> None:
        """Find `structure` in `btf`; with `part`, the structure that is its member of that name.

        Raises KeyError where the structure or a member is not there: the object and this code are not of one build.
        """
        self._make = fields._make
        size, members = btf.structure(structure)
        base = 0
        if part:
            whole = _member(members, part, structure)
            base, members = whole.offset, list(btf.members(btf.resolve(whole.type_id)))
        code, position = "=", 0
        for name in fields._fields:
            member = _member(members, name, structure)
            offset = base + member.offset
            code += f"{offset - position}x{_format(btf, member.type_id)}"
            position = offset + btf.size_of(member.type_id)
        self._struct = struct.Struct(code)
        self._whole = struct.Struct(f"{code}{size - position}x")

    def read(self, record: bytes) -> FieldsT:
        """The fields of one record. Raises BadRecord."""
        try:
            return self._make(self._struct.unpack_from(record))
        except struct.error:
            raise BadRecord(f"record of {len(record)} bytes, {self._struct.size} expected") from None

    def read_all(self, records: bytes) -> Iterator[FieldsT]:
        """The fields of each of many records, which lie end to end. Raises BadRecord."""
        try:
            return map(self._make, self._whole.iter_unpack(records))
        except struct.error:
            raise BadRecord(f"records of {len(records)} bytes, {self._whole.size} expected of each") from None


def member_offset(btf: Btf, structure: str, name: str) -> int:
    """Where in a structure one of its members begins. Raises KeyError as Layout does."""
    _, members = btf.structure(structure)
    return _member(members, name, structure).offset


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
