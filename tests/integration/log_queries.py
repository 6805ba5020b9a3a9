"""What a log store answers, asked in its own language as its users ask."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol

import requests

from lab.waiting import eventually
from tools.stack.log_store import LogStore
from tools.stack.loki import Loki
from tools.stack.victorialogs import VictoriaLogs

ARRIVAL_S = 60.0
"""Patience for what is on its way through several programs on a machine that is busy."""

_MOST_ENTRIES = 5_000
"""What Loki gives in one answer (limits_config.max_entries_limit_per_query)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored event: `labels` tell its stream from others, `metadata` is all else of it."""

    time_ns: int
    line: str
    labels: Mapping[str, str]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events: labels by regular expression, the rest by value. Names are OpenTelemetry's."""

    labels: Mapping[str, str]
    metadata: Mapping[str, str] = field(default_factory=dict)


class Language(Protocol):
    """How a store is asked, and how to read what it answers."""

    @property
    def parameters(self) -> Mapping[str, str | int]:
        """Of a request, beside `query` and `start`."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Of a request."""

    def name(self, attribute: str) -> str:
        """An attribute of OTLP, as this store spells it."""

    def query(self, selection: Selection) -> str:
        """The query for these events."""

    def results(self, answer: requests.Response) -> Sequence[Any]:
        """What a query has found, of whatever kind; empty if nothing."""

    def entries(self, answer: requests.Response) -> list[Entry]:
        """Those that a query of events has found."""


class _LogsQl:
    parameters: ClassVar[Mapping[str, str | int]] = {}
    headers: ClassVar[Mapping[str, str]] = {}

    def name(self, attribute: str) -> str:
        return attribute

    def query(self, selection: Selection) -> str:
        labels = ",".join(f"{name}=~{json.dumps(value)}" for name, value in selection.labels.items())
        metadata = (f"{name}:={json.dumps(value)}" for name, value in selection.metadata.items())
        return " ".join([f"{{{labels}}}", *metadata])

    def results(self, answer: requests.Response) -> Sequence[Mapping[str, str]]:
        return [json.loads(line, object_pairs_hook=_once) for line in answer.text.splitlines()]

    def entries(self, answer: requests.Response) -> list[Entry]:
        return [self._entry(fields) for fields in self.results(answer)]

    def _entry(self, fields: Mapping[str, str]) -> Entry:
        labels = {name: fields[name] for name in re.findall(r'[{,]([\w.]+)="', fields["_stream"])}
        others = fields.keys() - labels.keys() - {"_time", "_msg", "_stream", "_stream_id"}
        metadata = {name: fields[name] for name in others}
        return Entry(_unix_ns(fields["_time"]), fields["_msg"], labels, metadata)


class _LogQl:
    parameters: ClassVar[Mapping[str, str | int]] = {"limit": _MOST_ENTRIES, "direction": "forward"}
    headers: ClassVar[Mapping[str, str]] = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}

    def name(self, attribute: str) -> str:
        return attribute.replace(".", "_")

    def query(self, selection: Selection) -> str:
        labels = ",".join(f"{self.name(name)}=~{json.dumps(value)}" for name, value in selection.labels.items())
        metadata = (f"{self.name(name)}={json.dumps(value)}" for name, value in selection.metadata.items())
        return " | ".join([f"{{{labels}}}", *metadata])

    def results(self, answer: requests.Response) -> Sequence[Mapping[str, Any]]:
        results: Sequence[Mapping[str, Any]] = answer.json()["data"]["result"]
        return results

    def entries(self, answer: requests.Response) -> list[Entry]:
        return [
            Entry(int(time_ns), line, stream["stream"], categories.get("structuredMetadata", {}))
            for stream in self.results(answer)
            for time_ns, line, categories in stream["values"]
        ]


_LANGUAGES: Mapping[str, Language] = {VictoriaLogs.name: _LogsQl(), Loki.name: _LogQl()}


def language_of(store: LogStore) -> Language:
    """The one that this store is asked in."""
    return _LANGUAGES[store.name]


def ask(store: LogStore, query: str, since_ns: int) -> requests.Response:
    """The store's answer to a query about the events from this Unix time on."""
    language = language_of(store)
    parameters = {"query": query, "start": since_ns, **language.parameters}
    answer = requests.get(store.query_url, parameters, headers=language.headers, timeout=ARRIVAL_S)
    answer.raise_for_status()
    return answer


def find(store: LogStore, selection: Selection, since_ns: int) -> list[Entry]:
    """The selected events from this Unix time on, in the order of time."""
    language = language_of(store)
    entries = language.entries(ask(store, language.query(selection), since_ns))
    return sorted(entries, key=lambda entry: entry.time_ns)


def await_entries(store: LogStore, selection: Selection, since_ns: int, at_least: int = 1) -> list[Entry]:
    """The selected events as soon as there are this many."""

    def enough() -> list[Entry]:
        entries = find(store, selection, since_ns)
        return entries if len(entries) >= at_least else []

    return eventually(enough, ARRIVAL_S)


def await_results(store: LogStore, query: str, since_ns: int) -> Sequence[Any]:
    """What a query in the store's own words finds, as soon as it finds anything."""
    return eventually(lambda: language_of(store).results(ask(store, query, since_ns)), ARRIVAL_S)


def _once(pairs: list[tuple[str, str]]) -> Mapping[str, str]:
    fields = dict(pairs)
    assert len(fields) == len(pairs), f"a field is stored twice: {pairs}"
    return fields


def _unix_ns(rfc3339: str) -> int:
    """Unix time in nanoseconds, which `datetime` does not have."""
    seconds, _, fraction = rfc3339.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 1_000_000_000 + int(fraction.ljust(9, "0"))
