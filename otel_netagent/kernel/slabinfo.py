"""/proc/slabinfo: how many objects the kernel's caches hold (slabinfo(5))."""

from __future__ import annotations

from typing import NamedTuple

from otel_netagent.kernel.procfs import MalformedTable


class SlabCache(NamedTuple):
    """One cache, in the order of the table's columns; `object_size` in bytes."""

    active_objects: int
    objects: int
    object_size: int
    objects_per_slab: int
    pages_per_slab: int


def parse_slab_cache(text: str, name: str, file: str = "/proc/slabinfo") -> SlabCache | None:
    """The cache of this name; None where the kernel has none (it may be merged with another of the same size).

    Raises MalformedTable, which calls the table `file`, where its row is not as version 2 of the table has it.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        columns = line.split(None, 6)
        if columns and columns[0] == name:
            try:
                return SlabCache(*map(int, columns[1:6]))
            except (ValueError, TypeError):
                raise MalformedTable(file, number, f"not five numbers of cache {name!r}") from None
    return None
