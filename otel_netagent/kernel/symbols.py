"""Kernel symbols, from /proc/kallsyms: the function at an address, and the addresses of a function."""

from __future__ import annotations

import bisect
import re
from array import array
from collections.abc import Collection, Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Final, NamedTuple

from isal import isal_zlib

_TEXT_KINDS: Final = frozenset(b"tTwW")
_JITED: Final = b"[bpf]"

_PART: Final = re.compile(r"(?:\.(?:cold|isra\.\d+|constprop\.\d+|part\.\d+))+")
"""What compilers append to the name of a part of a function that stands elsewhere, or is a variant of it."""

_BLOCK: Final = 256
"""So many names are compressed together: to a fifth, and read again within microseconds."""

_PARTS_MAX: Final = 4
"""SPAN_PARTS of bpf/include/probe.h."""


class SymbolsUnreadable(Exception):
    """Kernel addresses cannot be read; the text says why and what to do."""


class _Area(NamedTuple):
    """Addresses from `start` up to `end`."""

    start: int
    end: int

    def holds(self, address: int) -> bool:
        return self.start <= address < self.end


class Symbols:
    """Functions of the kernel and of its modules, by address.

    The table has no sizes: a function ends where the next begins. That holds within the kernel's own text and within
    a module, and nowhere else; so an address in neither, as of a program that the kernel compiled itself (eBPF), has
    no name rather than a wrong one. The table is read again when modules have come or gone.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        """Read the table. Raises SymbolsUnreadable."""
        self._kallsyms = proc / "kallsyms"
        self._modules_file = proc / "modules"
        self._load()

    def name(self, address: int) -> str:
        """`function+0xOFFSET` as the kernel writes it, or the bare address where there is no function."""
        index = self._find(address)
        return f"0x{address:x}" if index is None else f"{self._name_at(index)}+0x{address - self._starts[index]:X}"

    def function(self, address: int) -> str:
        """Name of the function at an address, as its source has it, or the bare address."""
        index = self._find(address)
        return f"0x{address:x}" if index is None else _of_source(self._name_at(index))

    def span(self, name: str) -> array[int]:
        """Where a function is: first address of each of its parts, and of what follows it; (0, 0) for each of the rest.

        Of more than four parts, those that come first. All are (0, 0) where the kernel has no function of this name.
        """
        return self.spans((name,))

    def spans(self, names: Collection[str]) -> array[int]:
        """The spans of several functions, one after another."""
        self._locate([name for name in names if name not in self._parts])
        return array("Q", (bound for name in names for bound in self._span(self._parts[name])))

    def _span(self, parts: Iterable[int]) -> Iterator[int]:
        """The span of a function whose parts begin at these addresses."""
        starts = sorted(parts)[:_PARTS_MAX]
        for start in starts:
            following = bisect.bisect_right(self._starts, start)
            yield from (start, self._starts[following] if following < len(self._starts) else start + 1)
        yield from repeat(0, 2 * (_PARTS_MAX - len(starts)))

    def _locate(self, names: Collection[str]) -> None:
        """Remember where the parts of these functions begin, all found in one pass through the names."""
        if not names:
            return
        self._parts.update((name, set()) for name in names)
        wanted = [name.encode() for name in names]
        for block, compressed in enumerate(self._blocks):
            text = isal_zlib.decompress(compressed)
            if any(name in text for name in wanted):
                for index, symbol in enumerate(text.decode(errors="replace").split("\n"), block * _BLOCK):
                    if (function := _of_source(symbol)) in names:
                        self._parts[function].add(self._starts[index])

    def _find(self, address: int) -> int | None:
        """Number of the symbol whose function an address is in."""
        if not self._text.holds(address) and self._read_modules() != self._modules:
            self._load()
        area = next((area for area in (self._text, *self._modules.values()) if area.holds(address)), None)
        index = bisect.bisect_right(self._starts, address) - 1
        if area is None or index < 0 or not area.holds(self._starts[index]):
            return None
        return index

    def _name_at(self, index: int) -> str:
        block, place = divmod(index, _BLOCK)
        return isal_zlib.decompress(self._blocks[block]).split(b"\n")[place].decode(errors="replace")

    def _load(self) -> None:
        """Keep addresses in an array and names compressed: 120,000 tuples of objects would be ten times as large."""
        self._modules = self._read_modules()
        try:
            functions = sorted(self._functions())
        except OSError as error:
            raise SymbolsUnreadable(
                f"{self._kallsyms} cannot be read: {error.strerror}; it takes a kernel with CONFIG_KALLSYMS=y"
            ) from None
        if not functions or functions[-1][0] == 0:
            raise SymbolsUnreadable(
                f"{self._kallsyms} shows no addresses: set sysctl kernel.kptr_restrict to 0 or 1, and give CAP_SYSLOG"
            )
        self._starts = array("Q", (address for address, _ in functions))
        names = [name for _, name in functions]
        self._blocks = [
            isal_zlib.compress(b"\n".join(names[first : first + _BLOCK])) for first in range(0, len(names), _BLOCK)
        ]
        self._parts: dict[str, set[int]] = {}
        text, text_end = self.spans(("_stext", "_etext"))[:: 2 * _PARTS_MAX]
        self._text = _Area(text, text_end)

    def _functions(self) -> Iterator[tuple[int, bytes]]:
        """Address and name of each function; lines are `address kind name [module]`."""
        with self._kallsyms.open("rb") as lines:
            for line in lines:
                address, kind, name, *module = line.split()
                if kind[0] in _TEXT_KINDS and module != [_JITED]:
                    yield int(address, 16), name

    def _read_modules(self) -> dict[str, _Area]:
        """Where each loaded module is; none for a kernel that is built without."""
        try:
            text = self._modules_file.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return {}
        return dict(map(_module, text.splitlines()))


def _of_source(name: str) -> str:
    """The name of a function without what the compiler appended."""
    base, dot, _ = name.partition(".")
    return base if dot and _PART.fullmatch(name, len(base)) else name


def _module(line: str) -> tuple[str, _Area]:
    """Name and addresses of a module; a line is `name size uses users state address` (proc_modules(5))."""
    name, size, _, _, _, address, *_ = line.split()
    start = int(address, 16)
    return name, _Area(start, start + int(size))
