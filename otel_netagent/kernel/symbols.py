"""Kernel symbols, from /proc/kallsyms: the function at an address, and the addresses of a function."""

from __future__ import annotations

import bisect
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Final

_LARGEST_FUNCTION: Final = 1 << 18
_RELOAD_AFTER_S: Final = 60.0
_TEXT_KINDS: Final = frozenset("tTwW")


class SymbolsUnreadable(Exception):
    """Kernel addresses cannot be read; the text says why and what to do."""


class Symbols:
    """Functions of the kernel and of its modules, by address. Reads the table again when modules came since."""

    def __init__(self, path: Path = Path("/proc/kallsyms"), clock: Callable[[], float] = time.monotonic) -> None:
        """Read the table. Raises SymbolsUnreadable."""
        self._path = path
        self._clock = clock
        self._load()

    def name(self, address: int) -> str:
        """`function+0xOFFSET` as the kernel writes it, or the bare address where there is no function."""
        found = self._find(address)
        if found is None and self._clock() - self._loaded_at > _RELOAD_AFTER_S:
            self._load()
            found = self._find(address)
        return f"0x{address:x}" if found is None else f"{found[0]}+0x{address - found[1]:X}"

    def function(self, address: int) -> str:
        """Name of the function at an address, or the bare address."""
        found = self._find(address)
        return f"0x{address:x}" if found is None else found[0]

    def span(self, name: str) -> array[int]:
        """First address of a function, and of what follows it; (0, 0) where the kernel has none of this name."""
        position = self._names.find(b"\n" + name.encode() + b"\n")
        if position < 0:
            return array("Q", (0, 0))
        index = bisect.bisect_left(self._name_offsets, position + 1)
        start = self._starts[index]
        return array("Q", (start, self._starts[bisect.bisect_right(self._starts, start, lo=index)]))

    def _find(self, address: int) -> tuple[str, int] | None:
        index = bisect.bisect_right(self._starts, address) - 1
        if index < 0 or address - self._starts[index] >= _LARGEST_FUNCTION:
            return None
        return self._name_at(index).decode(errors="replace"), self._starts[index]

    def _name_at(self, index: int) -> bytes:
        begin = self._name_offsets[index]
        return self._names[begin : self._names.index(b"\n", begin)]

    def _load(self) -> None:
        """Keep addresses and names in flat arrays: 70,000 tuples of Python objects would be ten times as large."""
        self._loaded_at = self._clock()
        functions = sorted(_functions(self._path))
        if not functions or functions[-1][0] == 0:
            raise SymbolsUnreadable(
                f"{self._path} shows no addresses: set sysctl kernel.kptr_restrict to 0 or 1, and give CAP_SYSLOG"
            )
        self._starts = array("Q", (address for address, _ in functions))
        self._name_offsets = array("I")
        names = bytearray(b"\n")
        for _, name in functions:
            self._name_offsets.append(len(names))
            names += name + b"\n"
        self._names = bytes(names)


def _functions(path: Path) -> list[tuple[int, bytes]]:
    functions = []
    with path.open("rb") as lines:
        for line in lines:
            address, kind, name = line.split(maxsplit=3)[:3]
            if chr(kind[0]) in _TEXT_KINDS:
                functions.append((int(address, 16), name))
    return functions
