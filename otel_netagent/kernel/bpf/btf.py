"""BTF, the type information of the kernel (Documentation/bpf/btf.rst): where it is, and what it says.

Three things are asked of it: does a structure have a member (so which of several ways this kernel needs),
what are the names of an enumeration's values (reasons, MIB fields: numbers differ from kernel to kernel),
and how is a structure laid out (the event records of our own programs).
"""

from __future__ import annotations

import contextlib
import ctypes
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from otel_netagent.kernel.bpf import libbpf
from otel_netagent.kernel.bpf.btf_source import BtfSource

# magic, version, flags, hdr_len, type_off, type_len, str_off, str_len
_HEADER: Final = struct.Struct("=HBBIIIII")
_TYPE: Final = struct.Struct("=III")  # name_off, info, size or type

INT, POINTER, ARRAY, STRUCT, UNION, ENUM, FORWARD, TYPEDEF = range(1, 9)
VOLATILE, CONST, RESTRICT, FUNCTION, FUNCTION_PROTO, VARIABLE, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(9, 20)

# Bytes that follow `struct btf_type`: (fixed, for each of its vlen members).
_TRAILER: Final = {
    INT: (4, 0),
    ARRAY: (12, 0),
    STRUCT: (0, 12),
    UNION: (0, 12),
    ENUM: (0, 8),
    FUNCTION_PROTO: (0, 8),
    VARIABLE: (4, 0),
    DATASEC: (0, 12),
    DECL_TAG: (4, 0),
    ENUM64: (0, 12),
}


class BtfInvalid(Exception):
    """A file that should hold BTF does not; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a structure: its name, the id of its type and its offset in bytes."""

    name: str
    type_id: int
    offset: int


class Btf:
    """The types of one BTF blob."""

    def __init__(self, raw: bytes) -> None:
        """Index `raw`, the content of a .BTF section in this machine's byte order."""
        _, _, _, header_size, type_offset, type_size, string_offset, string_size = _HEADER.unpack_from(raw)
        types = header_size + type_offset
        strings = header_size + string_offset
        self._types = raw[types : types + type_size]
        self._strings = raw[strings : strings + string_size]
        # By type id, in flat arrays: a kernel has more than 100,000 types.
        self._offsets = array("I", [0])
        self._name_offsets = array("I", [0])
        self._kinds = array("B", [0])
        self._index()

    @classmethod
    def load(cls, source: BtfSource) -> Btf:
        """Read a BTF file: raw BTF, or an ELF file with a .BTF section. Raises BtfInvalid."""
        library = libbpf.load()
        with library.messages(libbpf.DETAIL) as messages:
            handle = library.btf__parse(bytes(source.path), None)
            code = ctypes.get_errno()
        if not handle:
            detail = messages[-1] if messages else libbpf.error_text(code)
            raise BtfInvalid(f"{source.path}: no usable BTF: {detail}")
        try:
            btf = cls.of_handle(handle)
        finally:
            library.btf__free(handle)
        # libbpf looks at this since 1.3.
        if max(btf._name_offsets) >= len(btf._strings):
            raise BtfInvalid(f"{source.path}: no usable BTF: a type's name lies outside the strings")
        return btf

    @classmethod
    def of_handle(cls, handle: int) -> Btf:
        """Copy the types of the `struct btf` at an address."""
        size = ctypes.c_uint32()
        data = libbpf.load().btf__raw_data(handle, ctypes.byref(size))
        return cls(ctypes.string_at(data, size.value))

    def has_member(self, structure: str, member: str) -> bool:
        """Whether a structure of the kernel has a member, in an anonymous part of it too."""
        type_id = self._find(structure, STRUCT)
        return type_id is not None and any(each.name == member for each in self._members_flat(type_id))

    def enumerators(self, name: str) -> dict[str, int]:
        """Names and values of a named enumeration; empty where the kernel has none of this name."""
        type_id = self._find(name, ENUM)
        return dict(self._enumerators(type_id)) if type_id is not None else {}

    def anonymous_enumerators(self, containing: str) -> dict[str, int]:
        """Names and values of the nameless enumeration that has the enumerator `containing`; empty where none has."""
        for type_id in self._with_name(0, ENUM):
            values = dict(self._enumerators(type_id))
            if containing in values:
                return values
        return {}

    def structure(self, name: str) -> tuple[int, list[Member]]:
        """Size in bytes and members of a structure. Raises KeyError where there is none."""
        type_id = self._find(name, STRUCT)
        if type_id is None:
            raise KeyError(name)
        return self.size_of(type_id), list(self.members(type_id))

    def names(self, kind: int) -> list[str]:
        """Names of all types of a kind."""
        return [self._string(name) for name, each in zip(self._name_offsets, self._kinds, strict=True) if each == kind]

    def section_variables(self, section: str) -> Iterator[tuple[str, int, int]]:
        """Variables of a data section of an object: name, offset in the section, id of the type."""
        type_id = self._find(section, DATASEC)
        if type_id is None:
            return
        offset = self._offsets[type_id]
        _, info, _ = _TYPE.unpack_from(self._types, offset)
        for variable, position, _ in struct.iter_unpack(
            "=III", self._types[offset + 12 : offset + 12 + 12 * (info & 0xFFFF)]
        ):
            name, _, type_of_variable = self._type(variable)
            yield self._string(name), position, type_of_variable

    def kind_of(self, type_id: int) -> int:
        """Kind of a type, typedefs and qualifiers looked through."""
        return self._kind(self.resolve(type_id))

    def resolve(self, type_id: int) -> int:
        """The type behind typedefs and qualifiers."""
        while self._kind(type_id) in (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG):
            type_id = self._type(type_id)[2]
        return type_id

    def size_of(self, type_id: int) -> int:
        """Size in bytes of an integer, enumeration, structure, union, or of an array of these."""
        type_id = self.resolve(type_id)
        if self._kind(type_id) == ARRAY:
            element, count = self.array(type_id)
            return self.size_of(element) * count
        return self._type(type_id)[2]

    def element(self, type_id: int) -> int:
        """Type of what an array of any number of dimensions is made of; of anything else, the type itself."""
        while self.kind_of(type_id) == ARRAY:
            type_id, _ = self.array(type_id)
        return type_id

    def array(self, type_id: int) -> tuple[int, int]:
        """Type of an array's elements, and how many it has."""
        element, _, count = struct.unpack_from("=III", self._types, self._offsets[self.resolve(type_id)] + 12)
        return element, count

    def members(self, type_id: int) -> Iterator[Member]:
        """Direct members of a structure or union."""
        offset = self._offsets[type_id]
        _, info, _ = _TYPE.unpack_from(self._types, offset)
        bitfields = info >> 31
        for name, member_type, position in struct.iter_unpack(
            "=III", self._types[offset + 12 : offset + 12 + 12 * (info & 0xFFFF)]
        ):
            bits = position & 0xFFFFFF if bitfields else position
            yield Member(self._string(name), member_type, bits // 8)

    def _members_flat(self, type_id: int) -> Iterator[Member]:
        for member in self.members(type_id):
            if not member.name and self.kind_of(member.type_id) in (STRUCT, UNION):
                yield from self._members_flat(self.resolve(member.type_id))
            else:
                yield member

    def _index(self) -> None:
        """Walk all types once: where each begins, its name and its kind."""
        types, unpack, end = self._types, _TYPE.unpack_from, len(self._types)
        offset = 0
        while offset < end:
            name, info, _ = unpack(types, offset)
            kind = info >> 24 & 0x1F
            self._offsets.append(offset)
            self._name_offsets.append(name)
            self._kinds.append(kind)
            fixed, per_member = _TRAILER.get(kind, (0, 0))
            offset += 12 + fixed + per_member * (info & 0xFFFF)

    def _find(self, name: str, kind: int) -> int | None:
        # A name stands once in the string section, so that its offset identifies it.
        position = self._strings.find(b"\0" + name.encode() + b"\0")
        return next(self._with_name(position + 1, kind), None) if position >= 0 else None

    def _with_name(self, name_offset: int, kind: int) -> Iterator[int]:
        """Ids of the types of a kind that have a name (0: none)."""
        type_id = 0
        with contextlib.suppress(ValueError):  # from index(), when there is no further one
            while True:
                type_id = self._name_offsets.index(name_offset, type_id + 1)
                if self._kinds[type_id] == kind:
                    yield type_id

    def _enumerators(self, type_id: int) -> Iterator[tuple[str, int]]:
        offset = self._offsets[type_id]
        _, info, _ = _TYPE.unpack_from(self._types, offset)
        for name, value in struct.iter_unpack("=Ii", self._types[offset + 12 : offset + 12 + 8 * (info & 0xFFFF)]):
            yield self._string(name), value

    def _type(self, type_id: int) -> tuple[int, int, int]:
        name, info, size = _TYPE.unpack_from(self._types, self._offsets[type_id])
        return name, info, size

    def _kind(self, type_id: int) -> int:
        return self._kinds[type_id]

    def _string(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode(errors="replace")
