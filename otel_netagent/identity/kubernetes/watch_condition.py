"""The state of the pod watch, for `/status`, `inspector` and self-telemetry."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class WatchState(enum.Enum):
    """What the agent knows of the pods of the node."""

    OFF = "off"
    """There is no Kubernetes API: pods have no name but their UID, and no labels."""
    STARTING = "starting"
    """The watch has not reported anything yet: names are those of the first list, if there was one."""
    FOLLOWING = "following"
    """Names are current: the watch reports each change."""
    FAILING = "failing"
    """The API has failed, and no watch has reported anything since: the last known names are kept."""


@dataclass(frozen=True, slots=True)
class WatchCondition:
    """State of the watch: why it is so, how many pods are known, how often it has failed, how often it has listed."""

    state: WatchState
    reason: str = ""
    pods: int = 0
    failures: int = 0
    lists: int = 0


OFF: Final = WatchCondition(WatchState.OFF)
"""Without Kubernetes."""
