"""What an output is: its declaration, known before it runs.

A package of otel_netagent/outputs that has a module `declaration` is one output or several, its OUTPUTS: `/status` and
docs/outputs.md come from them, and the agent starts those that send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Settings: TypeAlias = Mapping[str, Any]
"""Values of the configuration file by their keys, such as `event_config.port`."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Where self-telemetry counts what an output dropped: an instrument, and the attributes of its points."""

    instrument: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Output:
    """Declaration of an output.

    `settings` are the keys of the configuration file that it reads, `variables` those of the environment.
    """

    name: str
    summary: str
    settings: tuple[str, ...]
    variables: tuple[str, ...]
    losses: tuple[Loss, ...]


@dataclass(frozen=True, slots=True)
class LocalOutput(Output):
    """One that is to be had on this node. `where` says where, by these settings; an empty text: it is off."""

    where: Callable[[Settings], str]
