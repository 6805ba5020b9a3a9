"""What the stack has to know of the program that keeps the events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tools.stack.service import Service


class LogStore(Protocol):
    """A log store on loopback, with the files and variables by which the collector sends events to it."""

    @property
    def name(self) -> str:
        """What its users call it."""

    @property
    def ports(self) -> Mapping[str, int]:
        """Where it listens, by what for."""

    @property
    def url(self) -> str:
        """Its address."""

    @property
    def push_address(self) -> str:
        """What an agent's `event_config.loki_address` is, to push to it."""

    @property
    def collector_files(self) -> Sequence[str]:
        """Files of collector-config/ on top of agent.yaml or gateway.yaml."""

    @property
    def collector_environ(self) -> Mapping[str, str]:
        """What these files ask the environment for."""

    @property
    def query_url(self) -> str:
        """Where it is asked: a GET with the parameters `query` and `start`."""

    @property
    def example(self) -> str:
        """The query for connections to closed ports."""

    def service(self) -> Service:
        """It, not yet started."""
