"""/proc/kallsyms as a table of functions, which finds them by address and by name."""

from __future__ import annotations

import bisect
import functools
import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Final, Self

from isal import isal_zlib

_TEXT_KINDS: Final = frozenset(b"tTwW")
_JITED: Final = b"[bpf]"
_EDGES: Final = (b"_stext", b"_etext")
"""Where the kernel's own functions begin and end. To arm64 and powerpc the end is data already (kind D)."""

_PART: Final = re.compile(r"(?:\.(?:cold|isra\.\d+|constprop\.\d+|part\.\d+))+")
"""What compilers append to the name of a part of a function that stands elsewhere, or is a variant of it."""

_BLOCK: Final = 256
"""How many names are compressed together: to a fifth, and decompressed within microseconds."""

_PARTS_MAX: Final = 4
"""SPAN_PARTS of bpf/include/probe.h."""


class SymbolsUnreadable(Exception):
    """Kernel addresses cannot be read; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class FunctionTable:
    """Addresses in their order, and names compressed: as 120,000 tuples of objects it would be ten times as large.

    `text` is where the kernel's own functions are. Several threads may search it.
    """

    text: range
    starts: array[int]
    _blocks: Sequence[bytes]
    _parts: dict[str, frozenset[int]] = field(default_factory=dict)
    """Where the parts of those functions begin that were asked for: finding them takes a pass through all names."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file as /proc/kallsyms. Raises SymbolsUnreadable."""
        try:
            functions = sorted(_functions(path))
        except OSError as error:
            raise SymbolsUnreadable(
                f"{path} cannot be read: {error.strerror}; it takes a kernel with CONFIG_KALLSYMS=y"
            ) from None
        if not functions or functions[-1][0] == 0:
            raise SymbolsUnreadable(
                f"{path} shows no addresses: set sysctl kernel.kptr_restrict to 0 or 1, and give CAP_SYSLOG"
            )
        edges = {name: address for address, name in functions if name in _EDGES}
        names = [name for _, name in functions]
        return cls(
            range(*(edges.get(name, 0) for name in _EDGES)),
            array("Q", (address for address, _ in functions)),
            [isal_zlib.compress(b"\n".join(names[first : first + _BLOCK])) for first in range(0, len(names), _BLOCK)],
        )

    def before(self, address: int) -> int | None:
        """Number of the last function that begins at an address or before it."""
        index = bisect.bisect_right(self.starts, address) - 1
        return index if index >= 0 else None

    def name(self, index: int) -> str:
        """Name of a function by its number, with what the compiler appended."""
        block, position = divmod(index, _BLOCK)
        return _name(self._blocks[block], position)

    def spans(self, names: Collection[str], gone: Collection[range] = ()) -> array[int]:
        """Start and end of each part of several functions, four parts for each: see Symbols.span.

        What lies in the areas `gone` was there when the table was read, and is not any more.
        """
        if unknown := [name for name in names if name not in self._parts]:
            self._parts.update(self._located(unknown))
        return array("Q", (bound for name in names for bound in self._bounds(self._parts[name], gone)))

    def _bounds(self, parts: Iterable[int], gone: Collection[range]) -> Iterator[int]:
        """The span of a function whose parts begin at these addresses."""
        starts = sorted(start for start in parts if not any(start in area for area in gone))[:_PARTS_MAX]
        for start in starts:
            following = bisect.bisect_right(self.starts, start)
            yield from (start, self.starts[following] if following < len(self.starts) else start + 1)
        yield from repeat(0, 2 * (_PARTS_MAX - len(starts)))

    def _located(self, names: Collection[str]) -> dict[str, frozenset[int]]:
        """Where the parts of these functions begin, found in one pass through all names."""
        found: dict[str, set[int]] = {name: set() for name in names}
        wanted = [name.encode() for name in names]
        for block, compressed in enumerate(self._blocks):
            text = isal_zlib.decompress(compressed)
            if any(name in text for name in wanted):
                for index, symbol in enumerate(text.decode(errors="replace").split("\n"), block * _BLOCK):
                    if (function := of_source(symbol)) in found:
                        found[function].add(self.starts[index])
        return {name: frozenset(parts) for name, parts in found.items()}


@functools.lru_cache(maxsize=1024)
def _name(block: bytes, position: int) -> str:
    """A name of a block. Cached: drops happen at few locations, each of which is named at every collection."""
    return isal_zlib.decompress(block).split(b"\n")[position].decode(errors="replace")


def of_source(name: str) -> str:
    """The name of a function without what the compiler appended."""
    base, dot, _ = name.partition(".")
    return base if dot and _PART.fullmatch(name, len(base)) else name


def _functions(path: Path) -> Iterator[tuple[int, bytes]]:
    """Address and name of each function; lines are `address kind name [module]`."""
    with path.open("rb") as lines:
        for line in lines:
            address, kind, name, *module = line.split()
            if (kind[0] in _TEXT_KINDS or name in _EDGES) and module != [_JITED]:
                yield int(address, 16), name
