"""Which outputs get the snapshots and which get the events, by the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from otel_netagent.agent.servers import Listening
from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.config.schema import Config, MetricConfig
from otel_netagent.outputs.http.prometheus import PrometheusText
from otel_netagent.outputs.http.server import HttpServer
from otel_netagent.outputs.sending.sender import Sender

SnapshotReceiver: TypeAlias = Callable[[Snapshot], None]
EventReceiver: TypeAlias = Callable[[AttributedEvent], None]


@dataclass(frozen=True, slots=True)
class Receivers:
    """The outputs that get the snapshots, and those that get the events."""

    snapshots: list[SnapshotReceiver] = field(default_factory=list)
    events: list[EventReceiver] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LocalReceivers:
    """The same for every configuration: what keeps each snapshot, what writes lines, and the agent's own metrics."""

    node: str
    keep: SnapshotReceiver
    write_line: EventReceiver
    own_page: Callable[[], bytes]


def receivers(config: Config, senders: Sequence[Sender], listening: Listening, local: LocalReceivers) -> Receivers:
    """The receivers by this configuration: the senders, and what serves or writes on this node."""
    found = Receivers([local.keep], [sender.event for sender in senders if sender.event])
    if config.metric.enable:
        found.snapshots.extend(sender.snapshot for sender in senders if sender.snapshot)
    if stream := listening.stream:
        found.snapshots.append(stream.publish_snapshot)
        found.events.append(stream.publish)
    if config.event.enable and config.event.infotolog:
        found.events.append(local.write_line)
    if http := listening.http:  # the last, since it renders
        found.snapshots.append(_shown_by(http, config.metric, local))
    return found


def _shown_by(http: HttpServer, config: MetricConfig, local: LocalReceivers) -> SnapshotReceiver:
    """Publishes each snapshot on `/metrics`, followed by the agent's own metrics."""
    text = PrometheusText(local.node, timestamps=config.timestamps, aliases=config.aliases)

    def page(snapshot: Snapshot) -> Iterator[bytes]:
        yield from text.render(snapshot)
        yield local.own_page()

    return lambda snapshot: http.publish(lambda: page(snapshot))
