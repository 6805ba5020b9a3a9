"""The state of a probe: whether it runs, how each of its hooks is attached, and if not, why."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ProbeState(enum.Enum):
    """The state of a probe after its start."""

    RUNNING = "running"
    """Every hook is attached, by the preferred method or another."""
    DEGRADED = "degraded"
    """A hook is not attached: its data is missing, the rest is there."""
    UNAVAILABLE = "unavailable"
    """The probe does not run; its reason says why."""
    OFF = "off"
    """Not selected in the configuration."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An attach method that this kernel rejected."""

    way: str
    reason: str


@dataclass(frozen=True, slots=True)
class HookStatus:
    """One thing that a probe watches, and its attach method on this kernel.

    `way` is a section name of libbpf (`tp_btf/kfree_skb`, `iter/task`) or `procfs`; None if every method was rejected.
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
