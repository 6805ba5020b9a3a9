"""What Prometheus and Loki answer, asked as their users ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import requests

from tests.agent.running import Agent
from tests.lab.waiting import eventually
from tools.stack.service import Service
from tools.stack.services import Stack

T = TypeVar("T")

ARRIVAL_S = 60.0
"""Patience for what is on its way through several programs on a machine that is busy."""

_MOST_ENTRIES = 5_000
"""What Loki gives in one answer (limits_config.max_entries_limit_per_query)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A log line of Loki's: `labels` are those of the index, `metadata` the structured metadata."""

    time_ns: int
    line: str
    labels: Mapping[str, str]
    metadata: Mapping[str, str]


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
    loki: Service
    prometheus: Service

    def logql(self, query: str, since_ns: int) -> list[Entry]:
        """What a query finds from this Unix time on, in the order of time."""
        parameters: dict[str, str | int] = {
            "query": query,
            "start": since_ns,
            "limit": _MOST_ENTRIES,
            "direction": "forward",
        }
        headers = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
        url = f"{self.stack.loki_url}/loki/api/v1/query_range"
        answer = requests.get(url, parameters, headers=headers, timeout=ARRIVAL_S)
        answer.raise_for_status()
        entries = [
            Entry(int(time_ns), line, stream["stream"], categories.get("structuredMetadata", {}))
            for stream in answer.json()["data"]["result"]
            for time_ns, line, categories in stream["values"]
        ]
        return sorted(entries, key=lambda entry: entry.time_ns)

    def promql(self, query: str) -> list[Sample]:
        """What an instant query answers now."""
        answer = requests.get(f"{self.stack.prometheus_url}/api/v1/query", {"query": query}, timeout=ARRIVAL_S)
        answer.raise_for_status()
        return [
            Sample(labels.pop("__name__", ""), labels, float(value))
            for labels, (_, value) in ((each["metric"], each["value"]) for each in answer.json()["data"]["result"])
        ]

    def await_logql(self, query: str, since_ns: int, at_least: int = 1) -> list[Entry]:
        """What a query finds as soon as it finds this many."""

        def enough() -> list[Entry]:
            entries = self.logql(query, since_ns)
            return entries if len(entries) >= at_least else []

        return self.eventually(enough)

    def await_promql(self, query: str) -> list[Sample]:
        """What an instant query answers as soon as it answers anything."""
        return self.eventually(lambda: self.promql(query))

    def eventually(self, condition: Callable[[], T]) -> T:
        """The first true value of what takes its time to come through."""
        return eventually(condition, ARRIVAL_S)
