"""The limit of open files (RLIMIT_NOFILE): raised at start; and what is said and done where it is reached."""

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
"""Far more than is needed; some libraries walk over all numbers up to the limit."""

_QUIET_S: Final = 60.0

SHORTAGE: Final = frozenset({errno.EMFILE, errno.ENFILE})

REMEDY: Final = (
    "raise the limit of open files (LimitNOFILE= of systemd, `ulimit -n`, the container runtime's nofile), or stop "
    "the clients that hold them (`ss -tnp` shows connections to the agent)"
)


def raise_limit() -> None:
    """Go up to the hard limit, though not above 65,536: systemd and shells begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(_MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def is_shortage(error: BaseException) -> bool:
    """Whether it says that no file can be opened now, be it what it may: nothing follows from it for the file."""
    return isinstance(error, OSError) and error.errno in SHORTAGE


def raise_shortage(error: OSError) -> None:
    """Raise it again if it is one: what cannot be opened for that reason is neither gone nor damaged."""
    if is_shortage(error):
        raise error


def explained(error: Exception) -> str:
    """The error's text, and what to do where it is a shortage."""
    return f"{error}; {REMEDY}" if is_shortage(error) else str(error)


def require(count: int) -> None:
    """Find out whether so many files can be opened now. Raises OSError."""
    with contextlib.ExitStack() as opened:
        for _ in range(count):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


class ShortageLog:
    """Logs that files are short: once, and again only after a minute without."""

    def __init__(self) -> None:
        """None has been short yet."""
        self._last = float("-inf")

    def note(self, consequence: str, error: OSError) -> None:
        """Something could not be opened; `consequence` is what is not done meanwhile."""
        now = time.monotonic()
        if now - self._last > _QUIET_S:
            logger.error("%s: %s; %s", consequence, error.strerror, REMEDY)
        self._last = now
