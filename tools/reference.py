"""Writes the reference pages docs/metrics.md and docs/events.md from the probes' declarations: `make docs`.

tests/test_reference.py fails when a page is not what this would write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from otel_netagent.model.event import EventType
from otel_netagent.model.series import Series
from otel_netagent.pipeline.suppressed import EVENTS_SUPPRESSED
from otel_netagent.probes import catalogue
from otel_netagent.probing.declaration import Probe
from otel_netagent.probing.occurrences import COMMON

DOCS = Path(__file__).parent.parent / "docs"

_METRIC_COLUMNS = ("name", "kind", "unit", "meaning", "source", "labels", "aliases")

_METRICS = """# Metrics

Generated from the probes' declarations by `make docs`.

Every series has the labels `namespace`, `netns`, `node` and `pod`, and those that its row names. Names are the same
at `/metrics` and by OTLP, where each probe is an instrumentation scope (`otel_netagent.PROBE`). An alias is another
name of the same series, of the original exporter; aliases are at `/metrics` only. A counter that the running kernel
does not keep has no series. What is said of costs is CPU time of a collection, or of what the kernel does more for each
occurrence ([Costs](costs.md) has how it was measured).
"""

_EVENTS = """# Events

Generated from the probes' declarations by `make docs`.

A line on standard error is `type=TYPE pod=POD namespace=NAMESPACE BODY`; the same line is the body of the
OpenTelemetry log record. Whose end is the source: where a socket is concerned, its local end; where there is only a
packet (PACKETLOSS, TCPRESET_NOSOCK), the packet's source.

| in the line | attribute of the log record | |
| --- | --- | --- |
| `protocol=` | `network.transport`, `network.type` | |
| `saddr=` `sport=` `daddr=` `dport=` | `source.address`, `source.port`, `destination.address`, `destination.port` | |
| `icmp_type=` `icmp_code=` | `netagent.icmp.type`, `netagent.icmp.code` | instead of ports |
| `fragment=later`, `header=truncated` | | why there are no ports |
| `state:` | `netagent.tcp.state` | of the socket, before the reset |
| `reason:` of a reset | `netagent.tcp.reason` | the kernel's name (Linux 6.10) |
| `reason:` of a drop | `netagent.drop.reason` | the kernel's name (Linux 5.17) |
| `stacktrace:` | `code.stacktrace`, `netagent.drop.location` | from the dropping function on, innermost first |
| `latency:` `latency=` | `netagent.latency_ns` | how long: ms or us in the line, nanoseconds in the attribute |
| `pid=` `comm=` | `process.pid`, `process.command` | of the program that it happened to, where that is sure |
| | `netagent.packet.length` | bytes, from the layer on that the packet was in |
| | `netagent.harmless` | 1: no fault; emitted because `event_config.expected` is true |

`netagent_events_total` counts also what was not emitted (see [Metrics](metrics.md)): at most 100 events a second of one
kind, location and namespace are (`event_config.events_per_second`). Drops that are no fault are counted, and make an
event only where `event_config.expected` is true: `otel_netagent/probing/drop_reasons.py` says which and why.

Healthy TCP too sends segments that the kernel frees as if it dropped them. These are expected; similar segments that
are lost at the same location are reported:

- **Keepalives and window probes**: no data, and the sequence number before the next one (`TCP_OLD_SEQUENCE` in
  `tcp_validate_incoming`; before Linux 6.6 `TCP_INVALID_SEQUENCE`). Systems other than Linux probe a closed window
  with one byte, the next (`TCP_INVALID_END_SEQUENCE`; before 6.17 `TCP_ZEROWINDOW` in `tcp_data_queue`). Reported: a
  RST, more data, any other sequence number. A duplicate of old data is among these: no data are lost, but probably an
  ACK of this host.
- **ACKs of a half-closed connection**: no data, after the peer's FIN (`NOT_SPECIFIED` in `tcp_rcv_state_process`).
  Reported: data or another FIN after the FIN.
- **Handshakes that wait for data** (TCP_DEFER_ACCEPT; nginx: `deferred`): the last ACK (`NOT_SPECIFIED` in
  `tcp_v4_rcv` or `tcp_v6_rcv`). Reported: the SYN once more, and this ACK where the accept queue is full.

Before Linux 6.11 a drop does not say for which socket it was, and before 6.15 not that the accept queue was full: the
first kind then needs fentry or kprobe (`tcp_oow_rate_limited`), and so does the third (`tcp_check_req`). Where the
kernel supports neither, `inspector list probe` says so, and these segments are reported. The second kind needs no
socket: `tcp_rcv_state_process` (net/ipv4/tcp_input.c) sets a reason wherever else it discards an ACK without data.
"""


def metrics_page(probes: Iterable[Probe]) -> str:
    """The page of all series."""
    sections = [
        f"## {probe.name}: {probe.summary}\n\n{_running(probe)}\n\n"
        + _table(_METRIC_COLUMNS, map(_metric_row, probe.series))
        for probe in probes
        if probe.series
    ]
    common = f"## of every probe that has events\n\n{_table(_METRIC_COLUMNS, map(_metric_row, COMMON))}"
    return "\n".join([_METRICS, *sections, common])


def events_page(probes: Iterable[Probe]) -> str:
    """The page of all event types."""
    told = [probe for probe in probes if probe.events]
    sections = [
        f"## {probe.name}: {probe.summary}\n\n{_running(probe)}\n\n{''.join(map(_event, probe.events))}"
        for probe in told
    ]
    common = f"## of every probe that has events\n\n{_event(EVENTS_SUPPRESSED)}"
    return "\n".join([_EVENTS, *sections, common]).rstrip("\n") + "\n"


def pages() -> dict[Path, str]:
    """Every page with its content."""
    probes = [probe for _, probe in sorted(catalogue().items())]
    return {DOCS / "metrics.md": metrics_page(probes), DOCS / "events.md": events_page(probes)}


def _metric_row(series: Series) -> Iterator[str]:
    yield f"`{series.name}`"
    yield series.kind.value
    yield f"`{series.unit}`"
    yield series.help
    yield series.source
    yield _code(series.labels)
    yield _code(series.aliases)


def _event(event_type: EventType) -> str:
    also = f" (also answers to {_code(event_type.aliases)})" if event_type.aliases else ""
    lines = [
        f"### `{event_type.name}`{also}",
        f"Event name `{event_type.event_name}`. It fires when {event_type.fires_when}.",
    ]
    if event_type.threshold_ms is not None:
        lines[-1] += (
            f" The default of `event_config.thresholds` (ms): `{{{event_type.name}: {event_type.threshold_ms}}}`."
        )
    if event_type.guidance:
        lines += [
            f"    type={event_type.name} pod=web-0 namespace=shop {event_type.guidance.example}",
            f"- **Usual causes:** {event_type.guidance.causes}\n- **Look at next:** {event_type.guidance.look_at}",
        ]
    return "\n\n".join(lines) + "\n\n"


def _running(probe: Probe) -> str:
    also = f" The configuration may call it {_code(probe.aliases)} too." if probe.aliases else ""
    when = f"Runs only where the configuration names it: {probe.on_demand}." if probe.on_demand else "Runs by default."
    return f"{when} Cost: {probe.cost}.{also}"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = tuple(columns)
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8")
