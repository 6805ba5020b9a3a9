"""The agent: from a configuration to running parts, from one configuration to the next, and to their end."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from otel_netagent import __version__
from otel_netagent.agent.servers import Servers
from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.config.probe_selection import selected_probes
from otel_netagent.config.schema import Config, DeliveryConfig, MetricConfig, differences
from otel_netagent.identity.entity import Entity
from otel_netagent.identity.kubernetes.watch import NOWHERE, follow_pods
from otel_netagent.identity.kubernetes.watch_condition import WatchState
from otel_netagent.identity.metric_labels import Chosen, ChosenLabels, all_labels
from otel_netagent.identity.naming import EntityNaming, Labelling, unlabelled
from otel_netagent.identity.node_name import node_name
from otel_netagent.outputs.http.prometheus import PrometheusText
from otel_netagent.outputs.http.status import AgentStatus
from otel_netagent.outputs.loki.address import own_headers, push_url
from otel_netagent.outputs.loki.streams import StreamsEncoder
from otel_netagent.outputs.otlp.attributes import agent_resource
from otel_netagent.outputs.otlp.connect import connect
from otel_netagent.outputs.otlp.environment import Destination, Signal, destination
from otel_netagent.outputs.otlp.logs import LogsEncoder, Observed
from otel_netagent.outputs.otlp.metrics import MetricsEncoder
from otel_netagent.outputs.self_telemetry.agent_state import AgentState, DeliveryTotals
from otel_netagent.outputs.self_telemetry.export import SelfExport
from otel_netagent.outputs.self_telemetry.telemetry import SelfTelemetry
from otel_netagent.outputs.sending import Delivery, Limits, SpoolPlace, close_all
from otel_netagent.outputs.text.event_lines import TextSink
from otel_netagent.outputs.text.line_queue import LineKind, LineQueue
from otel_netagent.pipeline.kernel_access import find_kernel_access
from otel_netagent.pipeline.probe_set import Changes
from otel_netagent.pipeline.sources import Sources
from otel_netagent.probes import catalogue

logger = logging.getLogger(__name__)

PartT = TypeVar("PartT")

_METRICS_QUEUE: Final = Limits(capacity=12)
_LOGS_QUEUE: Final = Limits(capacity=8_192, batch=512, linger_s=1.0)
"""Small batches, since whoever reads events has to wait for Python's lock while one is packed."""


class Agent:
    """Everything that runs on a node, for one configuration after another."""

    def __init__(self, config: Config, environ: Mapping[str, str], standard_error: LineQueue) -> None:
        """Start all parts. Event lines go to the queue for standard error, which stays the caller's.

        Raises ListenError, EventPortError, OtlpConfigError or LokiAddressError, with nothing left running.
        """
        self._environ = environ
        own_headers(environ)  # looked at now: Loki may be asked for later, when nothing can be refused any more
        self._node = node_name(environ)
        self._resource = agent_resource(self._node, kubernetes="KUBERNETES_SERVICE_HOST" in environ)
        self._kinds = catalogue()
        self._entities: Mapping[int, Entity] = {}
        self._standard_error = standard_error
        self._text = TextSink(standard_error)
        self._delivery_totals = DeliveryTotals()
        self._sends = _sends(config)
        # Parts end in the reverse order: first the sources, then the outputs, the walk over the namespaces last.
        with contextlib.ExitStack() as parts:
            access = find_kernel_access(legacy=config.enable_legacy_version)
            self._access = _started(access, parts, lambda access: access.walk.walk.close())
            self._sending_parts = _started(contextlib.ExitStack(), parts, contextlib.ExitStack.close)
            self._sending = self._start_sending(*self._sends, self._destinations())
            own = SelfTelemetry(self._resource, self._node, self._agent_state)
            self._own = _started(own, parts, SelfTelemetry.close)
            self._servers = _started(Servers(self._node, lambda: self.status().to_json()), parts, Servers.close)
            # Before the first collection, so that pods have their names in it.
            self._naming = EntityNaming()
            self._pods = follow_pods(environ, self._node, self._naming.know)
            parts.callback(self._pods.close)
            sources = Sources(self._kinds, self._access, own.collected, self._naming)
            self._sources = _started(sources, parts, Sources.close)
            if to := destination(Signal.METRICS, environ):
                _started(SelfExport(to, own.data), parts, SelfExport.close)
            self._config = config
            self._follow(config)
            self._parts = parts.pop_all()
        for refusal in self._access.walk.refused:
            logger.warning(
                "namespaces are walked by procfs, at many times the cost: %s: %s", refusal.way, refusal.reason
            )
        for line in self._summary():
            logger.info(line)

    def apply(self, config: Config) -> None:
        """Go over to another configuration; what it has in common with the one before is not disturbed.

        Raises ListenError, EventPortError, OtlpConfigError or LokiAddressError where it cannot be had; then all goes on
        as before.
        """
        changed = [*differences(self._config, config)] or ["no setting has changed"]
        probes = str(self._follow(config))
        self._config = config
        logger.info("the configuration is loaded anew: %s", "; ".join([*changed, *filter(None, [probes])]))

    def retry(self) -> None:
        """Try again to start the probes that are unavailable: what they need may have come meanwhile."""
        self._sources.retry()

    def close(self) -> None:
        """Stop all parts, within a second beside what the last sending may take, and leave nothing in the kernel."""
        self._parts.close()

    def status(self) -> AgentStatus:
        """State of the agent now."""
        return AgentStatus(
            version=__version__,
            node=self._node,
            kernel=self._access.release,
            btf=self._access.btf,
            probes=self._sources.statuses,
            entities=self._entities,
            kubernetes=self._pods.condition,
        )

    def _follow(self, config: Config) -> Changes:
        """First what can be refused, then the rest."""
        sends = _sends(config)
        # The environment stays, but files that it names may be gone, or half renewed.
        where = self._destinations() if sends != self._sends else {}
        self._servers.listen(config.metric.port, config.event.port if config.event.enable else None)
        logging.getLogger("otel_netagent").setLevel(logging.DEBUG if config.debugmode else logging.INFO)
        self._naming.label_by(_labelling(config.metric))
        if config.metric.verbose and self._pods.condition.state is WatchState.OFF:
            logger.warning("metric_config.verbose: no pod is known by more than its UID: %s", NOWHERE)
        if sends == self._sends:
            return self._run(config, self._sending)
        # Two that send cannot use one spool: events are held until the old ones have ended and the new ones are there.
        held: list[AttributedEvent] = []
        changes = self._run(config, _Outputs(events=[held.append]))
        self._sending_parts.close()
        self._sends, self._sending = sends, self._start_sending(*sends, where)
        self._run(config, self._sending)
        for event in held:
            for output in self._sending.events:
                output(event)
        return changes

    def _run(self, config: Config, sending: _Outputs) -> Changes:
        outputs = self._outputs(config, sending)
        return self._sources.apply(
            selected_probes(config, self._kinds), outputs.snapshots, outputs.events, config.metric.interval
        )

    def _outputs(self, config: Config, sending: _Outputs) -> _Outputs:
        """Whoever gets something by this configuration: those that are sending, and those that show it here."""
        outputs = _Outputs([self._keep_entities], [*sending.events])
        if config.metric.enable:
            outputs.snapshots.extend(sending.snapshots)
        if stream := self._servers.stream:
            outputs.snapshots.append(stream.publish_snapshot)
            outputs.events.append(stream.publish)
        if config.event.enable and config.event.infotolog:
            outputs.events.append(self._text.write)
        if http := self._servers.http:  # the last, since it renders
            http.switch_metrics(on=config.metric.enable)
            http.debug = config.debugmode
            text = PrometheusText(self._node, timestamps=config.metric.timestamps, aliases=config.metric.aliases)
            outputs.snapshots.append(lambda snapshot: http.publish(lambda: self._exposition(text, snapshot)))
        return outputs

    def _exposition(self, text: PrometheusText, snapshot: Snapshot) -> Iterator[bytes]:
        yield from text.render(snapshot)
        yield self._own.page()

    def _destinations(self) -> Mapping[Signal, Destination]:
        return {signal: found for signal in Signal if (found := destination(signal, self._environ))}

    def _start_sending(
        self, config: DeliveryConfig, loki_url: str | None, where: Mapping[Signal, Destination]
    ) -> _Outputs:
        sending = _Outputs()
        # Together, since they share the time that is left at the end.
        self._sending_parts.callback(close_all, sending.deliveries, config.flush_seconds)
        self._start_otlp(config, where, sending)
        if loki_url is not None:
            self._start_loki(config, loki_url, sending)
        self._delivery_totals.follow(sending.deliveries)
        return sending

    def _start_otlp(self, config: DeliveryConfig, where: Mapping[Signal, Destination], outputs: _Outputs) -> None:
        if to := where.get(Signal.METRICS):
            limits = replace(_METRICS_QUEUE, request_bytes=config.request_kilobytes << 10)
            encoder = MetricsEncoder(self._resource, self._node, request_bytes=limits.request_bytes)
            metrics = Delivery("OTLP metrics", encoder, connect(to), limits, spool=_spool(config, to.signal.value))
            outputs.deliveries.append(metrics)
            outputs.snapshots.append(metrics.put)
        if to := where.get(Signal.LOGS):
            limits = replace(_LOGS_QUEUE, request_bytes=config.request_kilobytes << 10)
            spool = _spool(config, to.signal.value)
            logs = Delivery("OTLP logs", LogsEncoder(self._resource, self._node), connect(to), limits, spool=spool)
            outputs.deliveries.append(logs)
            outputs.events.append(lambda event: logs.put(Observed(event, time.time_ns())))

    def _start_loki(self, config: DeliveryConfig, url: str, outputs: _Outputs) -> None:
        # As HTTP for OTLP: who does not push saves the memory of its libraries.
        from otel_netagent.outputs.loki.transport import PushTransport  # noqa: PLC0415

        limits = replace(_LOGS_QUEUE, request_bytes=config.request_kilobytes << 10)
        transport = PushTransport(url, self._environ)
        loki = Delivery("Loki", StreamsEncoder(self._node), transport, limits, spool=_spool(config, "loki"))
        outputs.deliveries.append(loki)
        outputs.events.append(loki.put)

    def _agent_state(self) -> AgentState:
        sources = self._sources
        return AgentState(
            sources.statuses,
            self._entities,
            self._delivery_totals.read(),
            sources.discarded,
            self._standard_error.lost(LineKind.EVENT),
            self._standard_error.lost(LineKind.LOG),
            self._pods.condition,
        )

    def _keep_entities(self, snapshot: Snapshot) -> None:
        self._entities = snapshot.entities

    def _summary(self) -> Iterator[str]:
        """What runs and where to look, for whoever started the agent."""
        metric, event = self._config.metric, self._config.event
        yield f"node {self._node}, kernel {self._access.release}, probes {', '.join(self._sources.running) or 'none'}"
        if metric.enable:
            yield f"metrics at http://localhost:{metric.port}/metrics, every {metric.interval:g} s"
        if event.enable:
            yield f"events by gRPC on port {event.port} (`inspector watch`)"
        yield from map(str, self._sending.deliveries)


@dataclass(frozen=True, slots=True)
class _Outputs:
    """Who gets the snapshots, who gets the events, and which of them send."""

    snapshots: list[Callable[[Snapshot], None]] = field(default_factory=list)
    events: list[Callable[[AttributedEvent], None]] = field(default_factory=list)
    deliveries: list[Delivery[Any]] = field(default_factory=list)


def _sends(config: Config) -> tuple[DeliveryConfig, str | None]:
    """What it says of sending: how, and to which Loki. Raises LokiAddressError."""
    return config.delivery, push_url(config.event.loki_address) if config.event.loki_enable else None


def _labelling(config: MetricConfig) -> Labelling:
    """Which labels of pods it has metrics get."""
    if not config.verbose:
        return unlabelled
    chosen = [Chosen(item.name, item.source, item.type == "meta") for item in config.expose_labels]
    return ChosenLabels(tuple(chosen)) if chosen else all_labels


def _spool(config: DeliveryConfig, name: str) -> SpoolPlace | None:
    """A directory and a limit for each delivery, so that the many metrics of an outage do not displace its events."""
    if not config.spool_directory:
        return None
    return SpoolPlace(Path(config.spool_directory) / name, config.spool_megabytes << 20)


def _started(part: PartT, parts: contextlib.ExitStack, close: Callable[[PartT], None]) -> PartT:
    """Have a part closed with the others."""
    parts.callback(close, part)
    return part
