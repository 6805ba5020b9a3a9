"""Inode numbers of deleted namespaces, used again.

The kernel gives the lowest free number first, also to files in /proc: with each network namespace come dozens of these.
A new namespace gets a certain number if all lower ones are in use.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from lab.namespace import Namespace
from lab.waiting import eventually

SEVERAL = 5
"""So many numbers to wait for: a namespace is deleted a little later, and others on the machine take numbers too."""

_FAR = 100
"""More numbers than a network namespace takes with all its files."""

_CLONE = {"net": 0x40000000, "uts": 0x04000000}
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def namespace_with_one_of(numbers: Collection[int]) -> Iterator[Namespace]:
    """A new namespace that got one of these numbers."""
    with namespaces_with_some_of(numbers, 1) as (namespace,):
        yield namespace


@contextmanager
def namespaces_with_some_of(numbers: Collection[int], count: int) -> Iterator[Sequence[Namespace]]:
    """So many new namespaces that got one of these numbers each."""
    used: list[Namespace] = []
    with ExitStack() as alive, ExitStack() as fillers:

        def there_are_enough() -> bool:
            _use_up_to_one_of(numbers, fillers)
            with ExitStack() as attempted:
                namespace = attempted.enter_context(Namespace())
                if namespace.inode in numbers:
                    used.append(namespace)
                    alive.push(attempted.pop_all())
            return len(used) == count

        eventually(there_are_enough, within_s=60.0)
        yield used


def _use_up_to_one_of(numbers: Collection[int], fillers: ExitStack) -> None:
    """Use the free numbers below the first of these that is free; where none is, free them and leave it to luck."""
    number = 0
    while number < max(numbers):
        kind = "net" if 0 < number < min(numbers) - _FAR else "uts"
        filler = _new_namespace(kind)
        number = os.fstat(filler).st_ino
        if number in numbers:
            os.close(filler)
            return
        fillers.callback(os.close, filler)
        if number + 1 in numbers:
            return
    fillers.close()


def _new_namespace(kind: str) -> int:
    """A file that holds it. One for host names takes no number but its own."""

    def make() -> int:
        assert _libc.unshare(_CLONE[kind]) == 0
        return os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY)

    with ThreadPoolExecutor(max_workers=1) as thread:  # which ends in that namespace
        return thread.submit(make).result()
