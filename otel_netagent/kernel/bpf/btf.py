"""BTF, the type information of the kernel (Documentation/bpf/btf.rst): what it says, as libbpf reads it.

Three things are asked of it: does a structure have a member (so which of several programs this kernel needs),
what are the names of an enumeration's values (reasons, MIB fields: numbers differ from kernel to kernel),
and how is a structure laid out (the event records of our own programs).
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from otel_netagent.kernel.bpf import libbpf
from otel_netagent.kernel.bpf.btf_source import BtfSource

INT, POINTER, ARRAY, STRUCT, UNION, ENUM, FORWARD, TYPEDEF = range(1, 9)
VOLATILE, CONST, RESTRICT, FUNCTION, FUNCTION_PROTO, VARIABLE, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(9, 20)

_REFERRING: Final = frozenset(
    {POINTER, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNCTION, FUNCTION_PROTO, VARIABLE, DECL_TAG, TYPE_TAG}
)
"""Kinds of a type that says which other it is of."""


class _Part(NamedTuple):
    """What the parts of a kind are made of: words of each, and which of them are names, and which are types."""

    words: int
    names: tuple[int, ...]
    types: tuple[int, ...]


_PARTS: Final = {
    ARRAY: _Part(3, (), (0, 1)),
    STRUCT: _Part(3, (0,), (1,)),
    UNION: _Part(3, (0,), (1,)),
    ENUM: _Part(2, (0,), ()),
    ENUM64: _Part(3, (0,), ()),
    FUNCTION_PROTO: _Part(2, (0,), (1,)),
    DATASEC: _Part(3, (), (0,)),
}
_NO_PARTS: Final = _Part(0, (), ())

_PartT = TypeVar("_PartT", bound=ctypes.Structure)


class BtfInvalid(Exception):
    """What should be BTF is not, or contradicts itself; the text is one line that says which and why."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a structure: its name, the id of its type and its offset in bytes."""

    name: str
    type_id: int
    offset: int


class Btf:
    """The types of one BTF blob, for several threads.

    libbpf holds them until nobody has a reference to this object any more: they cannot be freed too early.
    Every method raises BtfInvalid where a type refers to one that is not there.
    """

    def __init__(self, handle: int) -> None:
        """Own the `struct btf` at the address `handle`."""
        self._library = libbpf.load()
        self._handle = handle
        weakref.finalize(self, self._library.btf__free, handle)

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
        return cls(handle)

    @classmethod
    def copy_of(cls, handle: int | None) -> Btf:
        """The types of a `struct btf` that somebody else owns, and may free. Raises BtfInvalid."""
        if not handle:
            raise BtfInvalid("it has no BTF")
        library = libbpf.load()
        size = ctypes.c_uint32()
        data = library.btf__raw_data(handle, ctypes.byref(size))
        copy = library.btf__new(data, size)
        if not copy:
            raise BtfInvalid(f"BTF cannot be copied: {libbpf.error_text(ctypes.get_errno())}")
        return cls(copy)

    def verify(self, path: Path) -> None:
        """See that all names and types are there that types refer to, half a second for a kernel's.

        libbpf does so itself since 1.3; before, a file that is damaged there ends the process that loads programs by
        it. Raises BtfInvalid, which names the file by its path.
        """
        count = self._library.btf__type_cnt(self._handle)
        for type_id in self._ids():
            names, types = self._references(type_id)
            if self._library.btf__name_by_offset(self._handle, max(names)) is None:
                raise BtfInvalid(f"{path}: no usable BTF: a name of type {type_id} lies outside the strings")
            if max(types, default=0) >= count:
                raise BtfInvalid(f"{path}: no usable BTF: type {type_id} refers to one that is not there")

    def has_member(self, structure: str, member: str) -> bool:
        """Whether a structure of the kernel has a member, in an anonymous part of it too."""
        type_id = self._find(structure, STRUCT)
        return type_id is not None and any(each.name == member for each in self._members_flat(type_id))

    def enumerators(self, name: str) -> dict[str, int]:
        """Names and values of a named enumeration; empty where the kernel has none of this name."""
        type_id = self._find(name, ENUM)
        return self._enumerators(type_id) if type_id is not None else {}

    def anonymous_enumerators(self, containing: str) -> dict[str, int]:
        """Names and values of the nameless enumeration that has the enumerator `containing`; empty where none has."""
        for type_id in self._of_kind(ENUM):
            if not self._type(type_id).name_off and containing in (values := self._enumerators(type_id)):
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
        return [self._name(self._type(type_id)) for type_id in self._of_kind(kind)]

    def section_variables(self, section: str) -> Iterator[tuple[str, int, int]]:
        """Variables of a data section of an object: name, offset in the section in bytes, id of the type."""
        type_id = self._find(section, DATASEC)
        if type_id is not None:
            for each in self._parts(type_id, libbpf.BtfSectionVariable):
                variable = self._type(each.type)
                yield self._name(variable), each.offset, variable.size_or_type

    def kind_of(self, type_id: int) -> int:
        """Kind of a type, typedefs and qualifiers looked through."""
        return _kind(self._type(self.resolve(type_id)))

    def resolve(self, type_id: int) -> int:
        """The type behind typedefs and qualifiers."""
        return self._sound(type_id, self._library.btf__resolve_type(self._handle, type_id))

    def size_of(self, type_id: int) -> int:
        """Size in bytes of a type that has one: an integer, enumeration, structure, union, or an array of these."""
        return self._sound(type_id, self._library.btf__resolve_size(self._handle, type_id))

    def element(self, type_id: int) -> int:
        """Type of what an array of any number of dimensions is made of; of anything else, the type itself."""
        for _ in range(self._library.btf__type_cnt(self._handle)):
            if self.kind_of(type_id) != ARRAY:
                return type_id
            type_id, _ = self.array(type_id)
        raise BtfInvalid(f"type {type_id} is an array of itself")

    def array(self, type_id: int) -> tuple[int, int]:
        """Type of an array's elements, and how many it has."""
        array = libbpf.BtfArray.from_address(self._behind(self.resolve(type_id)))
        return array.type, array.nelems

    def members(self, type_id: int) -> Iterator[Member]:
        """Direct members of a structure or union; of a bit-field, the offset of the byte in which it begins."""
        bitfields = self._type(type_id).info >> 31
        for each in self._parts(type_id, libbpf.BtfMember):
            bits = each.offset & 0xFFFFFF if bitfields else each.offset
            yield Member(self._name(each), each.type, bits // 8)

    def _members_flat(self, type_id: int) -> Iterator[Member]:
        """Members in nameless parts too, each part once: damaged BTF may have one within itself."""
        parts = [type_id]
        for part in parts:
            for member in self.members(part):
                if member.name:
                    yield member
                elif self.kind_of(member.type_id) in (STRUCT, UNION) and self.resolve(member.type_id) not in parts:
                    parts.append(self.resolve(member.type_id))

    def _enumerators(self, type_id: int) -> dict[str, int]:
        return {self._name(each): each.val for each in self._parts(type_id, libbpf.BtfEnumerator)}

    def _references(self, type_id: int) -> tuple[list[int], list[int]]:
        """Offsets of the names, and ids of the types, that stand in a type."""
        whole = self._type(type_id)
        kind = _kind(whole)
        part = _PARTS.get(kind, _NO_PARTS)
        count = 1 if kind == ARRAY else whole.info & 0xFFFF
        words = (ctypes.c_uint32 * (part.words * count)).from_address(self._behind(type_id))
        names = [each for at in part.names for each in words[at :: part.words]]
        types = [each for at in part.types for each in words[at :: part.words]]
        return [whole.name_off, *names], [*types, *([whole.size_or_type] if kind in _REFERRING else [])]

    def _find(self, name: str, kind: int) -> int | None:
        type_id = self._library.btf__find_by_name_kind(self._handle, name.encode(), kind)
        return type_id if type_id > 0 else None

    def _ids(self) -> Iterable[int]:
        return range(1, self._library.btf__type_cnt(self._handle))  # type 0 is void

    def _of_kind(self, kind: int) -> Iterator[int]:
        return (type_id for type_id in self._ids() if _kind(self._type(type_id)) == kind)

    def _type(self, type_id: int) -> libbpf.BtfType:
        """A view of libbpf's memory, as all that is read of it: none may leave this class."""
        return libbpf.BtfType.from_address(self._address(type_id))

    def _parts(self, type_id: int, part: type[_PartT]) -> Iterable[_PartT]:
        count = self._type(type_id).info & 0xFFFF
        parts: Iterable[_PartT] = (part * count).from_address(self._behind(type_id))
        return parts

    def _behind(self, type_id: int) -> int:
        return self._address(type_id) + ctypes.sizeof(libbpf.BtfType)

    def _address(self, type_id: int) -> int:
        address: int | None = self._library.btf__type_by_id(self._handle, type_id)
        return self._sound(type_id, address or -1)

    def _name(self, named: ctypes.Structure) -> str:
        name: bytes = self._library.btf__name_by_offset(self._handle, named.name_off) or b""
        return name.decode(errors="replace")

    def _sound(self, type_id: int, number: int) -> int:
        if number < 0:
            raise BtfInvalid(f"BTF contradicts itself at type {type_id}")
        return number


def _kind(of_type: libbpf.BtfType) -> int:
    return int(of_type.info >> 24 & 0x1F)
