"""Where runs leave what comes out of guests: build/vm/SUITE, one run at a time."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

RESULTS: Final = Path(__file__).parents[2] / "build" / "vm"


class ResultsInUse(Exception):
    """Another run is writing to the same directory."""


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Keep a directory of results to ourselves. Raises ResultsInUse."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ResultsInUse(f"{directory} is in use by another run: name another place by --results") from None
        yield
