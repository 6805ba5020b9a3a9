"""Events as requests to Loki's push API, and the content of such a request.

A request is JSON (Loki's documentation, "Ingest logs"): streams, each with its labels and with entries of a time, a
line, and structured metadata. Each combination of labels is a separate stream in Loki, so only
fields with few values are labels. The pod and the connection's tuple are metadata, under the names that Loki itself
uses for OTLP: a filter (`| pod="web" | source_port="443"`) finds events of either way.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.outputs.sending.request import NO_POD, EncodedRequest, PodName
from otel_netagent.printable import printable
from otel_netagent.unicode import well_formed

JOB: Final = "otel-netagent"

_Entry: TypeAlias = list[Any]
"""Unix time in nanoseconds as digits, the line, and the metadata."""


class _Stream(NamedTuple):
    """The labels that distinguish a stream from the others of this agent."""

    namespace: str
    type: str


class StreamsEncoder:
    """Encodes events as requests. The entries of a stream are in the order of their time."""

    def __init__(self, node: str) -> None:
        """Encode as the node of this name."""
        self._node = node
        self._names: dict[str, str] = {}  # attribute -> its name in metadata; bounded by what probes declare

    def encode(self, items: Sequence[AttributedEvent]) -> list[EncodedRequest]:
        """One request with all these events."""
        streams: dict[_Stream, list[_Entry]] = {}
        # Loki before 2.4 rejects an entry that is older than the last one of its stream.
        for item in sorted(items, key=lambda each: each.event.time_ns):
            stream = _Stream(item.entity.namespace, item.event.type.name)
            streams.setdefault(stream, []).append(self._entry(item))
        return [_request([{"stream": self._labels(stream), "values": values} for stream, values in streams.items()])]

    def count(self, item: AttributedEvent) -> int:  # noqa: ARG002 - an event is one entry, whichever
        """Number of entries that an event is encoded as."""
        return 1

    def pod(self, item: AttributedEvent) -> PodName:
        """The pod that the event happened to."""
        return PodName(item.entity.namespace, item.entity.pod)

    def contents(self, request: EncodedRequest) -> Mapping[PodName, int]:
        """Number of entries of each pod in a request; all of NO_POD if the request cannot be decoded."""
        try:
            return Counter(
                PodName(stream["stream"]["namespace"], metadata["pod"])
                for stream in _streams(request.body)
                for _, _, metadata in stream["values"]
            )
        except (ValueError, KeyError, TypeError):
            return {NO_POD: request.count}

    def halves(self, request: EncodedRequest) -> tuple[EncodedRequest, EncodedRequest] | None:
        """The entries as two requests, in their order; None if there is only one entry."""
        middle = request.count // 2
        if middle == 0:
            return None
        try:
            streams = _streams(request.body)
            return _request([*_part(streams, 0, middle)]), _request([*_part(streams, middle, request.count)])
        except (ValueError, KeyError, TypeError):
            return None

    def _labels(self, stream: _Stream) -> dict[str, str]:
        return {
            "job": JOB,
            "instance": well_formed(self._node),
            "namespace": well_formed(stream.namespace),
            "type": stream.type,
        }

    def _entry(self, item: AttributedEvent) -> _Entry:
        event, entity = item.event, item.entity
        attributes = {self._name(key): well_formed(str(value)) for key, value in event.attributes.items()}
        metadata = {
            **attributes,
            "pod": well_formed(entity.pod),
            "netns": entity.netns_label,
            "event_name": event.type.event_name,
            "severity_text": event.type.severity.name,
        }
        return [str(event.time_ns), printable(item.line), metadata]

    def _name(self, attribute: str) -> str:
        """The name of an attribute in Loki: LogQL does not allow dots in names."""
        if attribute not in self._names:
            self._names[attribute] = "".join(char if char.isascii() and char.isalnum() else "_" for char in attribute)
        return self._names[attribute]


def without_metadata(body: bytes) -> bytes:
    """The request for a Loki without structured metadata (before 2.9). Raises ValueError, KeyError, TypeError."""
    streams = [{**stream, "values": [entry[:2] for entry in stream["values"]]} for stream in _streams(body)]
    return _encoded(streams)


def _request(streams: Sequence[Mapping[str, Any]]) -> EncodedRequest:
    return EncodedRequest(_encoded(streams), sum(len(stream["values"]) for stream in streams))


def _part(streams: Sequence[Mapping[str, Any]], first: int, end: int) -> Iterator[Mapping[str, Any]]:
    """The entries from number `first` to `end`, counted across all streams."""
    before = 0
    for stream in streams:
        values = stream["values"]
        if chosen := values[max(first - before, 0) : max(end - before, 0)]:
            yield {**stream, "values": chosen}
        before += len(values)


def _encoded(streams: Sequence[Mapping[str, Any]]) -> bytes:
    return _JSON({"streams": streams}).encode()


def _streams(body: bytes) -> Sequence[Mapping[str, Any]]:
    streams: Sequence[Mapping[str, Any]] = json.loads(body)["streams"]
    return streams


_JSON: Final[Callable[[object], str]] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
