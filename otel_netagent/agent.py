"""The agent: from a configuration to running parts, and to their end."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from otel_netagent import __version__
from otel_netagent.config import Config
from otel_netagent.identity.entity import Entity
from otel_netagent.identity.registry import Registry
from otel_netagent.pipeline.collector import Collector
from otel_netagent.pipeline.event_reader import EventReader
from otel_netagent.pipeline.kernel_access import find_kernel_access
from otel_netagent.pipeline.probe_set import ProbeSet, Wanted
from otel_netagent.probes import catalogue
from otel_netagent.telemetry.delivery import Delivery, Limits, close_all
from otel_netagent.telemetry.event import AttributedEvent
from otel_netagent.telemetry.http_server import HttpServer
from otel_netagent.telemetry.otlp.attributes import agent_resource
from otel_netagent.telemetry.otlp.connect import connect
from otel_netagent.telemetry.otlp.environment import Signal, destination
from otel_netagent.telemetry.otlp.logs import LogsEncoder, Observed
from otel_netagent.telemetry.otlp.metrics import MetricsEncoder
from otel_netagent.telemetry.prometheus import PrometheusText
from otel_netagent.telemetry.snapshot import Snapshot
from otel_netagent.telemetry.status import AgentStatus
from otel_netagent.telemetry.stream.service import EventStream
from otel_netagent.telemetry.text import TextSink

logger = logging.getLogger(__name__)

PartT = TypeVar("PartT")

_METRICS_QUEUE: Final = Limits(capacity=12)
_LOGS_QUEUE: Final = Limits(capacity=10_000, batch=512, linger_s=1.0)


def node_name(environ: Mapping[str, str]) -> str:
    """Name of this node: NODE_NAME, else the host name from /etc/hostname, else the kernel's."""
    if name := environ.get("NODE_NAME", "").strip():
        return name
    with contextlib.suppress(OSError):
        if name := Path("/etc/hostname").read_text(encoding="utf-8", errors="replace").strip():
            return name
    return Path("/proc/sys/kernel/hostname").read_text(encoding="utf-8", errors="replace").strip()


class Agent:
    """Everything that runs on a node, for one configuration."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        """Start all parts. Raises ListenError, EventPortError or OtlpConfigError, with nothing left running."""
        self._node = node_name(environ)
        self._registry = Registry()
        self._entities: Mapping[int, Entity] = {}
        # Parts end in the reverse order: first the sources, then the outputs, what is in the kernel last.
        with contextlib.ExitStack() as parts:
            self._access = _started(find_kernel_access(), parts, lambda access: access.walk.walk.close())
            kinds = catalogue()
            self._probes = _started(ProbeSet(Wanted.of(config, kinds), kinds, self._access), parts, ProbeSet.close)
            outputs = self._start_outputs(config, environ, parts)
            self._start_sources(config, outputs, parts)
            self._parts = parts.pop_all()
        for refusal in self._access.walk.refused:
            logger.warning(
                "namespaces are walked by procfs, at many times the cost: %s: %s", refusal.way, refusal.reason
            )
        for line in self._summary(config, outputs):
            logger.info(line)

    def close(self) -> None:
        """Stop all parts within two seconds, and leave nothing in the kernel."""
        self._parts.close()

    def status(self) -> AgentStatus:
        """State of the agent now."""
        return AgentStatus(
            version=__version__,
            node=self._node,
            kernel=self._access.release,
            btf=self._access.btf,
            probes=self._probes.statuses,
            entities=self._entities,
        )

    def _start_outputs(self, config: Config, environ: Mapping[str, str], parts: contextlib.ExitStack) -> _Outputs:
        outputs = _Outputs()
        outputs.snapshots.append(self._keep_entities)
        self._start_otlp(environ, outputs, parts)
        http = HttpServer(config.metric.port, lambda: self.status().to_json(), metrics=config.metric.enable)
        _started(http, parts, HttpServer.close)
        if config.metric.enable:
            text = PrometheusText(self._node)
            outputs.snapshots.append(lambda snapshot: http.publish(text.render(snapshot)))
        if config.event.enable:
            stream = _started(EventStream(self._node, config.event.port), parts, EventStream.close)
            outputs.snapshots.append(stream.publish_snapshot)
            outputs.events.append(stream.publish)
            if config.event.infotolog:
                outputs.events.append(TextSink(sys.stderr).write)
        return outputs

    def _start_otlp(self, environ: Mapping[str, str], outputs: _Outputs, parts: contextlib.ExitStack) -> None:
        resource = agent_resource(self._node, kubernetes="KUBERNETES_SERVICE_HOST" in environ)
        if where := destination(Signal.METRICS, environ):
            metrics = Delivery("OTLP metrics", MetricsEncoder(resource, self._node), connect(where), _METRICS_QUEUE)
            outputs.deliveries.append(metrics)
            outputs.snapshots.append(metrics.put)
        if where := destination(Signal.LOGS, environ):
            logs = Delivery("OTLP logs", LogsEncoder(resource, self._node), connect(where), _LOGS_QUEUE)
            outputs.deliveries.append(logs)
            outputs.events.append(lambda event: logs.put(Observed(event, time.time_ns())))
        # Together, since they share the time that is left at the end.
        parts.callback(close_all, outputs.deliveries)

    def _start_sources(self, config: Config, outputs: _Outputs, parts: contextlib.ExitStack) -> None:
        running = self._probes.running
        collector = Collector(
            self._access.walk.walk, self._registry, running, outputs.snapshots, config.metric.interval
        )
        collector.start()
        parts.callback(collector.stop)
        sources = [probe.event_source for probe in running.values() if probe.event_source]
        if sources:
            reader = EventReader(sources, self._registry, outputs.events)
            reader.start()
            parts.callback(reader.stop)

    def _keep_entities(self, snapshot: Snapshot) -> None:
        self._entities = snapshot.entities

    def _summary(self, config: Config, outputs: _Outputs) -> Iterator[str]:
        """What runs and where to look, for whoever started the agent."""
        yield f"node {self._node}, kernel {self._access.release}, probes {', '.join(self._probes.running) or 'none'}"
        if config.metric.enable:
            yield f"metrics at http://localhost:{config.metric.port}/metrics, every {config.metric.interval:g} s"
        if config.event.enable:
            yield f"events by gRPC on port {config.event.port} (`inspector watch`)"
        yield from map(str, outputs.deliveries)


@dataclass(frozen=True, slots=True)
class _Outputs:
    """Who gets the snapshots, who gets the events, and which of them send."""

    snapshots: list[Callable[[Snapshot], None]] = field(default_factory=list)
    events: list[Callable[[AttributedEvent], None]] = field(default_factory=list)
    deliveries: list[Delivery[Any, Any]] = field(default_factory=list)


def _started(part: PartT, parts: contextlib.ExitStack, close: Callable[[PartT], None]) -> PartT:
    """Have a part closed with the others."""
    parts.callback(close, part)
    return part
