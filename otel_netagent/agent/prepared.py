"""Parts that are prepared beside those that run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

PartsT = TypeVar("PartsT")


@dataclass(frozen=True, slots=True)
class Prepared(Generic[PartsT]):
    """Parts that are ready: `commit` replaces those that run by them, and cannot fail; `cancel` ends them."""

    parts: PartsT
    commit: Callable[[], None]
    cancel: Callable[[], None]
