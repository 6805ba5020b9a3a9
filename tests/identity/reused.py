"""Inode numbers of deleted namespaces, used again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

from tests.lab.namespace import Namespace
from tests.lab.waiting import eventually

SEVERAL = 5
"""So many numbers to wait for: a namespace is deleted a little later, and files in /proc get free numbers too."""


@contextmanager
def namespace_with_one_of(numbers: Collection[int]) -> Iterator[Namespace]:
    """A new namespace that got one of these numbers."""
    with ExitStack() as alive:

        def attempt() -> list[Namespace]:
            with ExitStack() as attempted:
                namespace = attempted.enter_context(Namespace())
                if namespace.inode not in numbers:
                    return []
                alive.push(attempted.pop_all())
                return [namespace]

        [namespace] = eventually(attempt, within_s=30.0)
        yield namespace
