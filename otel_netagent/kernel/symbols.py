"""Functions of the running kernel: the one at an address, and the addresses of one, while modules come and go."""

from __future__ import annotations

import logging
import os
from array import array
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from otel_netagent.kernel.kallsyms import FunctionTable, SymbolsUnreadable, of_source

logger = logging.getLogger(__name__)


_Modules: TypeAlias = Mapping[tuple[str, int], range]
"""Where each module is, by its name and the number of its directory in sysfs.

That number is another one each time that a module is loaded: a newer version may lie at the same addresses.
"""


@dataclass(frozen=True, slots=True)
class _Reading:
    """The functions as they were when these modules were loaded.

    `named` are the modules whose functions it has, `gone` the areas of those that have been removed since.
    """

    functions: FunctionTable
    modules: _Modules
    named: _Modules
    gone: tuple[range, ...] = ()

    def without_table(self, modules: _Modules) -> _Reading:
        """What is still known when these modules are loaded, and the table cannot be read again."""
        same = dict(self.named.items() & modules.items())
        gone = [area for module, area in self.named.items() if module not in same]
        return _Reading(self.functions, modules, same, (*self.gone, *gone))

    def find(self, address: int) -> int | None:
        """Number of the function that an address is in."""
        areas = (self.functions.text, *self.named.values())
        area = next((area for area in areas if address in area), None)
        index = self.functions.before(address)
        if area is None or index is None or self.functions.starts[index] not in area:
            return None
        return index


class Symbols:
    """Functions of the kernel and of its modules, by address.

    The table has no sizes: a function ends where the next begins. That holds within the kernel's own text and within
    a module, and nowhere else; so an address in neither, as of a program that the kernel compiled itself (eBPF), has
    no name rather than a wrong one. The table is read again when modules have come or gone. For several threads.
    """

    def __init__(self, proc: Path = Path("/proc"), loaded: Path = Path("/sys/module")) -> None:
        """Read the table; `loaded` has a directory for each module. Raises SymbolsUnreadable."""
        self._loaded = loaded
        self._kallsyms = proc / "kallsyms"
        self._modules_file = proc / "modules"
        modules = self._read_modules()
        self._reading = _Reading(FunctionTable.read(self._kallsyms), modules, modules)

    def name(self, address: int) -> str:
        """`function+0xOFFSET` as the kernel writes it, or the bare address where there is no function."""
        reading = self._reading_with(address)
        index = reading.find(address)
        if index is None:
            return f"0x{address:x}"
        return f"{reading.functions.name(index)}+0x{address - reading.functions.starts[index]:X}"

    def function(self, address: int) -> str:
        """Name of the function at an address, as its source has it, or the bare address."""
        reading = self._reading_with(address)
        index = reading.find(address)
        return f"0x{address:x}" if index is None else of_source(reading.functions.name(index))

    def span(self, name: str) -> array[int]:
        """Where a function is: first address of each of its parts, and of what follows it; (0, 0) for each of the rest.

        Of more than four parts, those that come first. All are (0, 0) where the kernel has no function of this name.
        """
        return self.spans((name,))

    def spans(self, names: Collection[str]) -> array[int]:
        """The spans of several functions, one after another."""
        reading = self._newest_reading()
        return reading.functions.spans(names, reading.gone)

    def _reading_with(self, address: int) -> _Reading:
        """The reading that knows of an address, if any does: what is in the kernel's own text was in the first."""
        reading = self._reading
        return reading if address in reading.functions.text else self._newest_reading()

    def _newest_reading(self) -> _Reading:
        """Read the table again if modules have come or gone.

        Where that has become impossible (kptr_restrict may change at any time), symbols of the other modules are kept.
        """
        reading, modules = self._reading, self._read_modules()
        if modules == reading.modules:
            return reading
        try:
            reading = _Reading(FunctionTable.read(self._kallsyms), modules, modules)
        except SymbolsUnreadable as error:
            logger.warning("functions of the modules that came are shown as addresses: %s", error)
            reading = reading.without_table(modules)
        self._reading = reading
        return reading

    def _read_modules(self) -> _Modules:
        """Where each loaded module is; none for a kernel that is built without."""
        try:
            text = self._modules_file.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return {}
        return dict(map(self._module, text.splitlines()))

    def _module(self, line: str) -> tuple[tuple[str, int], range]:
        """A module and its addresses; a line is `name size uses users state address` (proc_modules(5))."""
        name, size, _, _, _, address, *_ = line.split()
        start = int(address, 16)
        return (name, _inode(self._loaded / name)), range(start, start + int(size))


def _inode(path: Path) -> int:
    """Number of a directory; 0 where there is none, as in a container without sysfs."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - half the time of Path.stat, and there are a hundred modules
    except OSError:
        return 0
