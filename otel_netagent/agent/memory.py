"""Memory of a process that runs for months: what is free goes back to the kernel, and is found without a search."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_BLOCK: Final = 128 << 10
"""The C library's own initial value; it grows to 32 MB with the size of what is freed, unless set (mallopt(3))."""

_SEARCH_AFTER: Final = (10_000, 50, 10)
"""Python's own are 700, 10 and 10 (gc.set_threshold). At most 10,000 objects, some megabytes, wait to be found."""


def give_back_freed_memory() -> None:
    """Have large blocks given back as they are freed, and small ones taken from one heap, not from one for each thread.

    To be called before there are threads. Does nothing for C libraries other than glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _BLOCK), (_M_TRIM_THRESHOLD, _BLOCK)):
        mallopt(parameter, value)


def give_back_what_is_between() -> None:
    """Give back also what is free between blocks in use, some megabytes after a while; this takes a millisecond.

    Does nothing for C libraries other than glibc.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def search_less_for_garbage() -> None:
    """Treat what there is now as permanent, and search the rest more rarely.

    To be called when all has started. Nearly all is freed with the last reference to it, so that a search finds
    nothing; but all threads wait meanwhile, at 1,000 pods for 30 ms every other collection.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_SEARCH_AFTER)
