"""How the watch is doing, for people and tools."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class WatchState(enum.Enum):
    """What is known of the pods of the node."""

    OFF = "off"
    """There is no Kubernetes API: pods have no name but their UID, and no labels."""
    STARTING = "starting"
    """They have not been listed yet."""
    FOLLOWING = "following"
    """They are known, and so is each change."""
    FAILING = "failing"
    """The API does not answer as it should: what was known before is held to."""


@dataclass(frozen=True, slots=True)
class WatchCondition:
    """State of the watch: why it is so, how many pods are known, how often it has failed, how often it has listed."""

    state: WatchState
    reason: str = ""
    pods: int = 0
    failures: int = 0
    lists: int = 0


OFF: Final = WatchCondition(WatchState.OFF)
"""Where nobody watches."""
