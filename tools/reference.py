"""Writes the reference pages from the declarations of probes and outputs: `make docs`.

tests/test_reference.py fails when a page is not what this would write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from otel_netagent.model.attribute import Attribute
from otel_netagent.model.event import EventType
from otel_netagent.model.series import Series
from otel_netagent.outputs import catalogue as outputs
from otel_netagent.outputs.declaration import Loss, Output
from otel_netagent.outputs.sending.sender import SendingOutput
from otel_netagent.pipeline.suppressed import EVENTS_SUPPRESSED
from otel_netagent.probes import catalogue
from otel_netagent.probing.declaration import Probe
from otel_netagent.probing.occurrences import COMMON

DOCS = Path(__file__).parent.parent / "docs"

_METRIC_COLUMNS = ("name", "kind", "unit", "meaning", "source", "labels", "aliases")

_ATTRIBUTE_COLUMNS = ("in the line", "attribute", "type", "unit", "meaning")
_TYPES = {str: "string", int: "int"}
"""As OTLP calls them."""

_METRICS = """# Metrics

Generated from the probes' declarations by `make docs`.

Every series has the labels `namespace`, `netns`, `node` and `pod`, and those in its row. Names are the same on
`/metrics` and over OTLP, where each probe is an instrumentation scope (`otel_netagent.PROBE`). An alias is the name
that the original exporter has for a series; aliases are on `/metrics` only. If the running kernel does not have a
counter, there is no series. A cost is the CPU time of a collection, or what the kernel spends on each occurrence;
[Costs](costs.md) says how it was measured.
"""

_EVENTS = """# Events

Generated from the probes' declarations by `make docs`.

A line on standard error is `type=TYPE pod=POD namespace=NAMESPACE BODY`; the same line is the body of the
OpenTelemetry log record. The source of an event:

| event | `saddr`, `sport` | `daddr`, `dport` |
| --- | --- | --- |
| of a socket | the local end | the remote end |
| of a packet only (PACKETLOSS, TCPRESET_NOSOCK) | the packet's sender | the packet's receiver |

The parts of the body, and the attributes of the log record:

The table of an event has its attributes, in the order of the line: the key that the line has (none: the attribute is
in the log record only), the attribute's name, type and unit, and what it says. What is not known of an occurrence is
left out, of the line and of the record. A duration is nanoseconds in the attribute, and whole milliseconds in the line,
or microseconds below one.

At most 100 events per second are emitted of one type, location and namespace (`event_config.events_per_second`);
`netagent_events_total` counts the others too (see [Metrics](metrics.md)). Expected drops are counted, and become events
only if `event_config.expected` is set: `otel_netagent/probing/drop_reasons.py` says which are expected, and why.

Healthy TCP also sends segments that the kernel frees as if it dropped them. These are expected, and similar segments
that are lost at the same location are still reported:

- **Keepalives and window probes**: no data, and the sequence number before the next one (`TCP_OLD_SEQUENCE` in
  `tcp_validate_incoming`; before Linux 6.6 `TCP_INVALID_SEQUENCE`). Systems other than Linux probe a closed window
  with one byte, the next (`TCP_INVALID_END_SEQUENCE`; before 6.17 `TCP_ZEROWINDOW` in `tcp_data_queue`). Reported: a
  RST, more data, any other sequence number. This includes a duplicate of old data: no data is lost, but probably an
  ACK of this host.
- **ACKs of a half-closed connection**: no data, after the peer's FIN (`NOT_SPECIFIED` in `tcp_rcv_state_process`).
  Reported: data or another FIN after the FIN.
- **Handshakes that wait for data** (TCP_DEFER_ACCEPT; nginx: `deferred`): the last ACK (`NOT_SPECIFIED` in
  `tcp_v4_rcv` or `tcp_v6_rcv`). Reported: the SYN once more, and this ACK where the accept queue is full.

Before Linux 6.11 a drop does not say for which socket the packet was, and before 6.15 not that the accept queue was
full: the first kind then needs fentry or kprobe (`tcp_oow_rate_limited`), and so does the third (`tcp_check_req`). If
the kernel supports neither, `inspector list probe` says so, and these segments are reported. The second kind needs no
socket: `tcp_rcv_state_process` (net/ipv4/tcp_input.c) sets a reason wherever else it discards an ACK without data.
"""


_OUTPUT_COLUMNS = ("output", "what it is", "keys of the file", "variables", "counter of what it dropped")

_OUTPUTS = """# Outputs

Generated from the outputs' declarations by `make docs`.

`/status` has each of them (`outputs`): `where` it sends to or is to be had, empty where it is off, and how much it
`lost` since the agent started. [Configuration](configuration.md) says what the keys and variables mean (each
`OTEL_EXPORTER_OTLP_` variable has a `_METRICS_` and a `_LOGS_` form), [Delivery](delivery.md) how the section
`delivery` and the outputs that send work, [What the agent says of itself](self-telemetry.md) what the counters count.
"""


def metrics_page(probes: Iterable[Probe]) -> str:
    """The page of all series."""
    sections = [
        f"## {probe.name}: {probe.summary}\n\n{_running(probe)}\n\n"
        + _table(_METRIC_COLUMNS, map(_metric_row, probe.series))
        for probe in probes
        if probe.series
    ]
    common = f"## Every probe that has events\n\n{_table(_METRIC_COLUMNS, map(_metric_row, COMMON))}"
    return "\n".join([_METRICS, *sections, common])


def events_page(probes: Iterable[Probe]) -> str:
    """The page of all event types."""
    sections = [
        f"## {probe.name}: {probe.summary}\n\n{_running(probe)}\n\n{''.join(map(_event, probe.events))}"
        for probe in probes
        if probe.events
    ]
    common = f"## Every probe that has events\n\n{_event(EVENTS_SUPPRESSED)}"
    return "\n".join([_EVENTS, *sections, common]).rstrip("\n") + "\n"


def outputs_page(declared: Iterable[Output]) -> str:
    """The page of all outputs."""
    return f"{_OUTPUTS}\n{_table(_OUTPUT_COLUMNS, map(_output_row, declared))}"


def pages() -> dict[Path, str]:
    """Every page with its content."""
    probes = [probe for _, probe in sorted(catalogue().items())]
    return {
        DOCS / "metrics.md": metrics_page(probes),
        DOCS / "events.md": events_page(probes),
        DOCS / "outputs.md": outputs_page(outputs.catalogue()),
    }


def _metric_row(series: Series) -> Iterator[str]:
    yield f"`{series.name}`"
    yield series.kind.value
    yield f"`{series.unit}`"
    yield series.help
    yield series.source
    yield _code(series.labels)
    yield _code(series.aliases)


def _output_row(output: Output) -> Iterator[str]:
    yield output.name
    yield output.summary
    yield _code((*output.settings, *(["delivery"] if isinstance(output, SendingOutput) else [])))
    yield _code(output.variables)
    yield ", ".join(f"`{_with_attributes(loss)}`" for loss in output.losses)


def _with_attributes(loss: Loss) -> str:
    attributes = ", ".join(f'{name}="{value}"' for name, value in loss.attributes.items())
    return f"{loss.instrument}{{{attributes}}}" if attributes else loss.instrument


def _event(event_type: EventType) -> str:
    also = f" (also called {_code(event_type.aliases)})" if event_type.aliases else ""
    lines = [
        f"### `{event_type.name}`{also}",
        f"Event name `{event_type.event_name}`. Emitted when {event_type.fires_when}.",
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
    lines.append(_table(_ATTRIBUTE_COLUMNS, map(_attribute_row, event_type.attributes)))
    return "\n\n".join(lines) + "\n"


def _attribute_row(attribute: Attribute) -> Iterator[str]:
    yield _code([attribute.key] if attribute.key else [])
    yield f"`{attribute.name}`"
    yield _TYPES[attribute.type]
    yield _code([attribute.unit] if attribute.unit else [])
    yield attribute.meaning


def _running(probe: Probe) -> str:
    also = f" The configuration may call it {_code(probe.aliases)} too." if probe.aliases else ""
    when = f"Opt-in: {probe.opt_in}." if probe.opt_in else "Runs by default."
    needs = f" Needs {', '.join(map(str, probe.capabilities))}." if probe.capabilities else ""
    return f"{when} Cost: {probe.cost}.{needs}{also}"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = tuple(columns)
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8")
