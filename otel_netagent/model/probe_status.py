"""Which probe runs, how each of its hooks is attached, and why one is not."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ProbeState(enum.Enum):
    """What became of a probe at start."""

    RUNNING = "running"
    """Every hook is attached, by the preferred way or another."""
    DEGRADED = "degraded"
    """Some hook is not attached: what it would see is missing, the rest is there."""
    UNAVAILABLE = "unavailable"
    """The probe does not run; its reason says why."""
    OFF = "off"
    """Not asked for in the configuration."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A way of attaching that this kernel refused."""

    way: str
    reason: str


@dataclass(frozen=True, slots=True)
class HookStatus:
    """One thing that a probe watches, and the way in which it does on this kernel.

    `way` is as libbpf spells a section (`tp_btf/kfree_skb`, `iter/task`) or `procfs`; None when every
    way was refused.
    """

    purpose: str
    way: str | None
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbeStatus:
    """State of one probe. `capabilities` are the names of those that it needs, `cost` says what it takes."""

    name: str
    state: ProbeState
    hooks: tuple[HookStatus, ...] = ()
    reason: str = ""
    capabilities: tuple[str, ...] = ()
    cost: str = ""
