"""Waiting for what comes, instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.005


def eventually(condition: Callable[[], T], within_s: float = 5.0) -> T:
    """The first true value of the condition. Raises TimeoutError with its name when none comes in time."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition.__qualname__} did not come true within {within_s} s")
        time.sleep(_PAUSE_S)
    return value
