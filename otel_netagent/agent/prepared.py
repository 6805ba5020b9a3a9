"""What has been made ready beside what runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

PartsT = TypeVar("PartsT")


@dataclass(frozen=True, slots=True)
class Prepared(Generic[PartsT]):
    """Parts that are ready: `commit` has them replace those that run, which cannot be refused; `cancel` ends them."""

    parts: PartsT
    commit: Callable[[], None]
    cancel: Callable[[], None]
