"""A strict server that plays Loki, its push API and OTLP.

What Loki's documentation ("Ingest logs") does not allow is refused in its words.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.http_serving import Handler, Server, listening
from tests.outputs.loki import otlp
from tests.outputs.loki.entry import Entry

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, given before the request is looked at."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Loki:
    """How it behaves, and what it took.

    `version` as (2, 8) knows no metadata, `metadata_allowed` is limits_config.allow_structured_metadata;
    before 2.4 the entries of a stream must be in order, and `oldest_ns` is what reject_old_samples_max_age comes to.
    `indexed` are the resource attributes that become labels (limits_config.otlp_config).
    """

    version: tuple[int, int] = (3, 0)
    metadata_allowed: bool = True
    oldest_ns: int = 0
    indexed: Collection[str] = ()
    answers: deque[Answer] = field(default_factory=deque)
    entries: list[Entry] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Where to push to."""
        return f"http://127.0.0.1:{self.port}/loki/api/v1/push"

    @property
    def lines(self) -> list[str]:
        """Of the entries that were taken, in the order in which they came."""
        return [entry.line for entry in self.entries]

    def receive(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a request. Raises AssertionError, or another error, for what is of neither API."""
        if self.answers:
            return self.answers.popleft()
        assert headers["content-encoding"] == "gzip"
        body = gzip.decompress(body)
        if path == "/otlp/v1/logs":
            assert headers["content-type"] == "application/x-protobuf"
            return self._take([*otlp.entries(body, self.indexed)])
        assert path == "/loki/api/v1/push"
        assert headers["content-type"] == "application/json"
        return self._push(body)

    def _push(self, body: bytes) -> Answer:
        document = json.loads(body)
        assert document.keys() == {"streams"}
        assert document["streams"]
        try:
            entries = [self._entry(stream, value) for stream in document["streams"] for value in _values(stream)]
        except ValueError as error:
            return Answer(400, str(error))
        return self._take(entries)

    def _entry(self, stream: Mapping[str, Any], value: list[Any]) -> Entry:
        labels: Mapping[str, str] = stream["stream"]
        assert labels
        assert all(_LABEL_NAME.fullmatch(name) and isinstance(each, str) and each for name, each in labels.items())
        time_ns, line, *more = value
        assert isinstance(line, str)
        assert line
        assert time_ns.isdecimal()
        if more and self.version < (2, 9):
            parser = "loghttp.PushRequest.Streams: []loghttp.LogProtoStream: unmarshalerDecoder: "
            raise ValueError(
                parser + "Value is string, but can't find closing '\"' symbol, error found in #10 byte of ..."
            )
        if more and not self.metadata_allowed:
            raise ValueError(f"stream '{labels}' includes structured metadata, but this feature is disallowed.")
        metadata: Mapping[str, str] = more[0] if more else {}
        assert all(_LABEL_NAME.fullmatch(name) and isinstance(each, str) for name, each in metadata.items())
        return Entry(labels, int(time_ns), line, metadata)

    def _take(self, entries: list[Entry]) -> Answer:
        """The good ones are kept, even if others are not."""
        newest = {tuple(each.labels.items()): each.time_ns for each in self.entries}
        bad = 0
        for entry in entries:
            stream = tuple(entry.labels.items())
            ordered = self.version >= (2, 4) or entry.time_ns >= newest.get(stream, 0)
            if entry.time_ns < self.oldest_ns or not ordered:
                bad += 1
            else:
                newest[stream] = entry.time_ns
                self.entries.append(entry)
        if bad:
            reason = (
                f"entry with timestamp ... ignored, reason: 'entry too far behind',\nuser 'fake', total ignored: {bad}"
            )
            return Answer(400, f"{reason} out of {len(entries)} for stream: {{...}}")
        return Answer(204)


def _values(stream: Mapping[str, Any]) -> list[Any]:
    assert stream.keys() == {"stream", "values"}
    assert stream["values"]
    values: list[Any] = stream["values"]
    return values


class _Handler(Handler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.server.loki.headers.append(headers)
        try:
            answer = self.server.loki.receive(self.path, headers, body)
        except (AssertionError, LookupError, ValueError, TypeError) as error:
            answer = Answer(418, f"this is no request that Loki takes: {error!r}")
        self.answer(answer.status, answer.text.encode(), answer.headers)


class _Server(Server):
    def __init__(self, loki: Loki) -> None:
        self.loki = loki
        super().__init__(_Handler)
        loki.port = self.server_port


@contextmanager
def serving(loki: Loki) -> Iterator[Loki]:
    """Have it listen at a port."""
    with listening(_Server(loki)):
        yield loki
