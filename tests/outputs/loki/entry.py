"""A log line as Loki stores it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Entry(NamedTuple):
    """An entry that was taken."""

    labels: Mapping[str, str]
    time_ns: int
    line: str
    metadata: Mapping[str, str]
