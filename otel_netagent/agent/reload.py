"""From the configuration that runs to another: prepare, switch, commit."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from otel_netagent.agent.receivers import LocalReceivers, receivers
from otel_netagent.agent.senders import SenderError, Senders
from otel_netagent.agent.servers import Servers
from otel_netagent.config.probe_selection import selected_probes
from otel_netagent.config.schema import Config, MetricConfig
from otel_netagent.identity.kubernetes.watch import NOWHERE, NoWatch, PodWatch
from otel_netagent.identity.kubernetes.watch_condition import WatchState
from otel_netagent.identity.metric_labels import Chosen, ChosenLabels, all_labels
from otel_netagent.identity.naming import EntityNaming, Labelling, unlabelled
from otel_netagent.outputs.http.server import ListenError
from otel_netagent.outputs.loki.address import LokiAddressError
from otel_netagent.outputs.otlp.environment import OtlpConfigError
from otel_netagent.outputs.stream.service import EventPortError
from otel_netagent.pipeline.probe_set import Changes
from otel_netagent.pipeline.sources import Sources
from otel_netagent.probing.declaration import Probe

logger = logging.getLogger(__name__)

REFUSALS: Final = (ListenError, EventPortError, LokiAddressError, OtlpConfigError, SenderError)
"""Errors of a configuration that cannot be applied on this machine; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What stays from one configuration to the next, and is configured by each."""

    catalogue: Mapping[str, Probe]
    sources: Sources
    senders: Senders
    servers: Servers
    naming: EntityNaming
    pods: PodWatch | NoWatch
    local: LocalReceivers


class Reload:
    """One change of the configuration. What is the same in both is not disturbed, and no event is lost."""

    def __init__(self, parts: Parts, config: Config) -> None:
        """Prepare all that can fail, beside what runs.

        Raises one of REFUSALS, or OSError where file descriptors run out; all goes on as before then.
        """
        self._parts = parts
        self._config = config
        stream_port = config.event.port if config.event.enable else None
        with contextlib.ExitStack() as prepared:
            self._senders = parts.senders.prepare(config)
            prepared.callback(self._senders.cancel)
            # The last: a server may have to leave its port to the other one, which cuts its connections.
            self._servers = parts.servers.prepare(config.metric.port, stream_port)
            prepared.pop_all()

    def switch(self) -> Changes:
        """Apply it. From here on events go to the new senders, which hold them."""
        parts, config = self._parts, self._config
        logging.getLogger("otel_netagent").setLevel(logging.DEBUG if config.debugmode else logging.INFO)
        self._listen()
        self._label()
        recipients = receivers(config, self._senders.parts, self._servers.parts, parts.local)
        wanted = selected_probes(config, parts.catalogue)
        return parts.sources.apply(wanted, recipients.snapshots, recipients.events, config.metric.interval)

    def commit(self) -> None:
        """End the previous senders; the new ones send what these left in the spool, and then what they hold."""
        self._senders.commit()

    def _listen(self) -> None:
        self._servers.commit()
        if http := self._servers.parts.http:
            http.switch_metrics(on=self._config.metric.enable)
            http.debug = self._config.debugmode

    def _label(self) -> None:
        self._parts.naming.label_by(_labelling(self._config.metric))
        if self._config.metric.verbose and self._parts.pods.condition.state is WatchState.OFF:
            logger.warning("metric_config.verbose: no pod is known by more than its UID: %s", NOWHERE)


def _labelling(config: MetricConfig) -> Labelling:
    """Which labels of pods the metrics get."""
    if not config.verbose:
        return unlabelled
    chosen = [Chosen(item.name, item.source, item.type == "meta") for item in config.expose_labels]
    return ChosenLabels(tuple(chosen)) if chosen else all_labels
