"""One event as one line, for people and for programs."""

from __future__ import annotations

import json
import re
import time

from otel_netagent.outputs.stream import inspector_pb2 as pb
from otel_netagent.outputs.stream.messages import EVENTS_LOST
from otel_netagent.printable import printable

_TUPLE = re.compile(r"(?<!\S)(?:protocol=TCP )?saddr=(\S+) sport=(\d+) daddr=(\S+) dport=(\d+)(?!\S)")


def text_line(event: pb.Event) -> str:
    """The event for people: the pod it happened to, then its body with the addresses as `a:p -> b:p`.

    An arrow without a protocol before it is TCP. Unprintable characters are escaped: a program chooses its own name.
    """
    meta = event.meta
    whose = (
        ("Namespace", meta.namespace),
        ("Pod", meta.pod),
        ("Node", meta.node),
        ("Netns", meta.netns.removeprefix("ns")),
    )
    words = [event.name, *(f"{key}={value}" for key, value in whose if value), _TUPLE.sub(_arrow, event.value)]
    return printable(f" {_level(event):<5} {' '.join(words)}".rstrip())


def json_line(event: pb.Event, source: str) -> str:
    """The event for programs: a JSON object with the time of the event in the kernel.

    If the agent does not send that (as ACK Net Exporter), it is the time of receipt.
    """
    meta = event.meta
    return json.dumps(
        {
            "time": rfc3339(event.time_unix_nano or time.time_ns()),
            "level": _level(event),
            "source": source,
            "msg": event.name,
            "meta": f"{meta.namespace}/{meta.pod} node={meta.node} netns={meta.netns} ",
            "event": event.value,
        },
        separators=(",", ":"),
    )


def rfc3339(time_ns: int) -> str:
    """A Unix time in UTC, to the nanosecond (RFC 3339)."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09}Z"


def _level(event: pb.Event) -> str:
    return "WARN" if event.name == EVENTS_LOST else "INFO"


def _arrow(fields: re.Match[str]) -> str:
    source, sport, destination, dport = fields.groups()
    return f"{_bracketed(source)}:{sport} -> {_bracketed(destination)}:{dport}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
