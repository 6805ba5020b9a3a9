"""/proc/slabinfo: how many objects the kernel's caches hold (slabinfo(5))."""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_netagent.kernel.proc.files import MalformedTable


class SlabCache(NamedTuple):
    """One cache, by the names of the table's columns, in its order; `objsize` in bytes."""

    active_objs: int
    num_objs: int
    objsize: int
    objperslab: int
    pagesperslab: int


_HEADER: Final = ["#", "name", *(f"<{name}>" for name in SlabCache._fields)]


def parse_slab_cache(text: str, name: str, file: str = "/proc/slabinfo") -> SlabCache | None:
    """The cache of this name; None where the kernel has none (it may be merged with another of the same size).

    Raises MalformedTable, which calls the table `file`, where its row is not as version 2 of the table has it.
    """
    lines = text.splitlines()
    if len(lines) < 2 or lines[1].split()[: len(_HEADER)] != _HEADER:
        raise MalformedTable(file, 2, "the columns are not known")
    for number, line in enumerate(lines, start=1):
        columns = line.split(None, 6)
        if columns and columns[0] == name:
            try:
                return SlabCache(*map(int, columns[1:6]))
            except (ValueError, TypeError):
                raise MalformedTable(file, number, f"not five numbers of cache {name!r}") from None
    return None
