"""What Prometheus and the log store answer, asked as their users ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import requests

from lab.waiting import eventually
from tests.agent.running import Agent
from tests.integration.log_queries import ARRIVAL_S, Entry, Selection, await_entries
from tools.stack.service import Service
from tools.stack.services import Stack

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of an instant query, with its labels."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class FarEnd:
    """An agent, and what is behind it."""

    stack: Stack
    agent: Agent
    collector: Service
    log_store: Service
    prometheus: Service

    def promql(self, query: str) -> list[Sample]:
        """What an instant query answers now."""
        answer = requests.get(f"{self.stack.prometheus_url}/api/v1/query", {"query": query}, timeout=ARRIVAL_S)
        answer.raise_for_status()
        return [
            Sample(labels.pop("__name__", ""), labels, float(value))
            for labels, (_, value) in ((each["metric"], each["value"]) for each in answer.json()["data"]["result"])
        ]

    def await_events(self, selection: Selection, since_ns: int, at_least: int = 1) -> list[Entry]:
        """The selected ones from this Unix time on, as soon as there are this many."""
        return await_entries(self.stack.log_store, selection, since_ns, at_least)

    def await_promql(self, query: str) -> list[Sample]:
        """What an instant query answers as soon as it answers anything."""
        return self.eventually(lambda: self.promql(query))

    def eventually(self, condition: Callable[[], T]) -> T:
        """The first true value of what takes its time to come through."""
        return eventually(condition, ARRIVAL_S)
