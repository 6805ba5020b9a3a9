"""Which namespace of a walk an entry of the kernel side belongs to, by cookie and inode (bpf/include/netns.h)."""

from __future__ import annotations

from collections.abc import Sequence

from otel_netagent.kernel.namespaces import Namespace


class WalkKeys:
    """The keys of a walk's namespaces: cookies, or inodes where the walk knows no cookies.

    The two are never looked up in one another: a cookie may be any number, so also another namespace's inode.
    """

    def __init__(self, namespaces: Sequence[Namespace]) -> None:
        """Know those of one walk."""
        self._keys = {each.cookie for each in namespaces}
        self._by_inode = all(each.cookie == each.inode for each in namespaces)

    def of(self, cookie: int, inode: int) -> int | None:
        """`Namespace.cookie` of the one with this cookie and inode; None where the walk did not meet it."""
        key = inode if self._by_inode else cookie
        return key if key in self._keys else None
