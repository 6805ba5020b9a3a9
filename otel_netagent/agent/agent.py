"""The agent: its parts, from their start to their end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from otel_netagent import __version__
from otel_netagent.agent.output_statuses import output_statuses
from otel_netagent.agent.receivers import LocalReceivers
from otel_netagent.agent.reload import Parts, Reload
from otel_netagent.agent.senders import Senders
from otel_netagent.agent.servers import Servers
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.config.schema import Config, differences, settings_of
from otel_netagent.identity.entity import Entity
from otel_netagent.identity.kubernetes.watch import follow_pods
from otel_netagent.identity.naming import EntityNaming
from otel_netagent.identity.node_name import node_name
from otel_netagent.model.output_status import OutputStatus
from otel_netagent.outputs import catalogue as outputs
from otel_netagent.outputs.http.status import AgentStatus
from otel_netagent.outputs.otlp.attributes import agent_resource
from otel_netagent.outputs.otlp.environment import Signal, destination
from otel_netagent.outputs.self_telemetry.agent_state import AgentState
from otel_netagent.outputs.self_telemetry.export import SelfExport
from otel_netagent.outputs.self_telemetry.telemetry import SelfTelemetry
from otel_netagent.outputs.text.event_lines import TextSink
from otel_netagent.outputs.text.line_queue import LineKind, LineQueue
from otel_netagent.pipeline.kernel_access import find_kernel_access
from otel_netagent.pipeline.probe_set import Changes
from otel_netagent.pipeline.sources import Sources
from otel_netagent.probes import catalogue

logger = logging.getLogger(__name__)

PartT = TypeVar("PartT")


class Agent:
    """Everything that runs on a node, for one configuration after another."""

    def __init__(self, config: Config, environ: Mapping[str, str], standard_error: LineQueue) -> None:
        """Start all parts. Event lines go to the queue for standard error, which stays the caller's.

        Raises one of REFUSALS, with nothing left running.
        """
        self._node = node_name(environ)
        self._outputs = outputs.catalogue()
        self._entities: Mapping[int, Entity] = {}
        self._standard_error = standard_error
        # Parts end in the reverse order: first the sources, then the outputs, the walk over the namespaces last.
        with contextlib.ExitStack() as ending:
            access = find_kernel_access(legacy=config.enable_legacy_version)
            self._access = _started(access, ending, lambda access: access.walk.walk.close())
            resource = agent_resource(self._node, kubernetes="KUBERNETES_SERVICE_HOST" in environ)
            own = _started(SelfTelemetry(resource, self._node, self._agent_state), ending, SelfTelemetry.close)
            senders = Senders(self._outputs, self._node, resource, environ)
            self._parts = self._start(environ, senders, own, ending)
            self._config = config
            self._go_over(config)
            if to := destination(Signal.METRICS, environ):  # now, since the first export is to have every sender
                _started(SelfExport(to, own.data), ending, SelfExport.close)
            self._ending = ending.pop_all()
        for refusal in self._access.walk.refused:
            logger.warning(
                "namespaces are walked via procfs, at many times the cost: %s: %s", refusal.way, refusal.reason
            )
        for line in self._summary():
            logger.info(line)

    def apply(self, config: Config) -> None:
        """Apply another configuration; what it has in common with the one before is not disturbed.

        Raises one of REFUSALS, or OSError where file descriptors run out; then all goes on as before.
        """
        changed = [*differences(self._config, config)] or ["no setting has changed"]
        probes = str(self._go_over(config))
        self._config = config
        logger.info("configuration reloaded: %s", "; ".join([*changed, *filter(None, [probes])]))

    def retry(self) -> None:
        """Try again to start the probes that are unavailable: what they need may be there now."""
        self._parts.sources.retry()

    def close(self) -> None:
        """Stop all parts, within a second beside what the last sending may take, and leave nothing in the kernel."""
        self._ending.close()

    def status(self) -> AgentStatus:
        """State of the agent now."""
        return AgentStatus(
            version=__version__,
            node=self._node,
            kernel=self._access.release,
            btf=self._access.btf,
            probes=self._parts.sources.statuses,
            entities=self._entities,
            kubernetes=self._parts.pods.condition,
            outputs=tuple(self._output_statuses()),
        )

    def _output_statuses(self) -> Iterator[OutputStatus]:
        settings = settings_of(self._config)
        return output_statuses(self._outputs, settings, self._parts.senders.running, self._agent_state())

    def _start(
        self, environ: Mapping[str, str], senders: Senders, own: SelfTelemetry, ending: contextlib.ExitStack
    ) -> Parts:
        """The parts that stay from one configuration to the next; they end with `ending`."""
        ending.callback(senders.close)
        servers = _started(Servers(self._node, lambda: self.status().to_json()), ending, Servers.close)
        # Before the first collection, so that pods have their names in it.
        naming = EntityNaming()
        pods = follow_pods(environ, self._node, naming.know)
        ending.callback(pods.close)
        probes = catalogue()
        sources = _started(Sources(probes, self._access, own.collected, naming), ending, Sources.close)
        local = LocalReceivers(self._node, self._keep_entities, TextSink(self._standard_error).write, own.page)
        return Parts(probes, sources, senders, servers, naming, pods, local)

    def _go_over(self, config: Config) -> Changes:
        reload = Reload(self._parts, config)
        changes = reload.switch()
        reload.commit()
        return changes

    def _agent_state(self) -> AgentState:
        parts = self._parts
        return AgentState(
            parts.sources.statuses,
            self._entities,
            parts.senders.delivery_totals.read(),
            parts.sources.discarded,
            self._standard_error.lost(LineKind.EVENT),
            self._standard_error.lost(LineKind.LOG),
            parts.pods.condition,
        )

    def _keep_entities(self, snapshot: Snapshot) -> None:
        self._entities = snapshot.entities

    def _summary(self) -> Iterator[str]:
        """What runs and where to look, for whoever started the agent."""
        metric, event, running = self._config.metric, self._config.event, self._parts.sources.running
        yield f"node {self._node}, kernel {self._access.release}, probes {', '.join(running) or 'none'}"
        if metric.enable:
            yield f"metrics at http://localhost:{metric.port}/metrics, every {metric.interval:g} s"
        if event.enable:
            yield f"events over gRPC on port {event.port} (`inspector watch`)"
        yield from (str(sender.delivery) for sender in self._parts.senders.running)


def _started(part: PartT, ending: contextlib.ExitStack, close: Callable[[PartT], None]) -> PartT:
    """Have a part closed with the others."""
    ending.callback(close, part)
    return part
