"""Calling something from within other network namespaces (setns(2)), by the calling thread itself."""

from __future__ import annotations

import ctypes
import os
from types import TracebackType
from typing import Final, Self

_CLONE_NEWNET: Final = 0x40000000
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Visit:
    """A `with` block in which the calling thread goes from namespace to namespace; at its end it is home again.

    Sockets and files that are opened in the block must be closed in it: they would keep a dead namespace alive.
    """

    def __init__(self) -> None:
        """Open the namespace to return to: the one that the process, not only this thread, is in."""
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def enter(self, pid: int, inode: int) -> bool:
        """Go to the namespace of a process; False, and still where it was, where that is gone or another's now.

        So it is where the process may not be looked at (CAP_SYS_PTRACE). Raises PermissionError without CAP_SYS_ADMIN.
        """
        try:
            namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False
        try:
            if os.fstat(namespace).st_ino != inode:
                return False
            _setns(namespace)
        finally:
            os.close(namespace)
        return True

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Go home. Raises OSError where the kernel has no memory for it: the next visit comes home then."""
        try:
            _setns(self._home)
        finally:
            os.close(self._home)


def _setns(namespace: int) -> None:
    """Call setns(2) with ctypes: os.setns came with Python 3.12."""
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")
