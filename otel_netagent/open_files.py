"""The limit of open files (RLIMIT_NOFILE): raised at start, and handled where it is reached."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import time
from typing import Final

logger = logging.getLogger(__name__)

_MOST: Final = 65_536
"""Far more than needed; not higher, since some libraries iterate over all numbers up to the limit."""

_QUIET_S: Final = 60.0

SHORTAGE: Final = frozenset({errno.EMFILE, errno.ENFILE})

REMEDY: Final = (
    "raise the limit of open files (LimitNOFILE= of systemd, `ulimit -n`, the container runtime's nofile), or stop "
    "the clients that hold them (`ss -tnp` shows connections to the agent)"
)


def raise_limit() -> None:
    """Raise the soft limit to the hard limit, at most 65,536: systemd and shells start with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(_MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def is_shortage(error: BaseException) -> bool:
    """Whether no file at all can be opened now; the error says nothing about this file."""
    return isinstance(error, OSError) and error.errno in SHORTAGE


def raise_shortage(error: OSError) -> None:
    """Raise the error again if it is a shortage: then the file is neither gone nor damaged."""
    if is_shortage(error):
        raise error


def explained(error: Exception) -> str:
    """The error's text and, for a shortage, what to do."""
    return f"{error}; {REMEDY}" if is_shortage(error) else str(error)


def require(count: int) -> None:
    """Check that `count` files can be opened now. Raises OSError."""
    with contextlib.ExitStack() as opened:
        for _ in range(count):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


class ShortageLog:
    """Logs a shortage of open files: once, and again only after a minute without one."""

    def __init__(self) -> None:
        """Start without a shortage."""
        self._last = float("-inf")

    def note(self, consequence: str, error: OSError) -> None:
        """A file could not be opened; `consequence` says what does not work meanwhile."""
        now = time.monotonic()
        if now - self._last > _QUIET_S:
            logger.error("%s: %s; %s", consequence, error.strerror, REMEDY)
        self._last = now
