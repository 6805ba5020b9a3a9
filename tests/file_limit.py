"""A process that may open no further file, as when all descriptors that it may have are in use."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator

_ITSELF = 0


@contextlib.contextmanager
def no_file_left(pid: int = _ITSELF, *, but: int = 0) -> Iterator[None]:
    """Lower the soft limit of a process to the files that it has open: within the block, all opens `but` so many fail.

    A limit applies to the number of the next descriptor, which is the lowest that is free (getrlimit(2)).
    """
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (_lowest_free(pid) + but, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def _lowest_free(pid: int) -> int:
    directory = f"/proc/{pid or 'self'}/fd"
    used = {int(number) for number in os.listdir(directory)}  # noqa: PTH208 - numbers, not paths
    still_used = {number for number in used if os.path.lexists(f"{directory}/{number}")}  # not that of the listing
    return min(set(range(len(still_used) + 1)) - still_used)
