"""Memory of a process that runs for months: what is free goes back to the kernel, for others to use."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_BLOCK: Final = 128 << 10
"""The C library's own beginning; it goes up to 32 MB with the size of what is freed, unless it is set (mallopt(3))."""


def give_back_freed_memory() -> None:
    """Have large blocks given back as they are freed, and small ones taken from one heap, not from one for each thread.

    To be called before there are threads. Does nothing for C libraries other than glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _BLOCK), (_M_TRIM_THRESHOLD, _BLOCK)):
        mallopt(parameter, value)
