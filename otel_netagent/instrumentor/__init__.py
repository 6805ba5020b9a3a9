"""The probes in somebody else's process: numbers and events through the OpenTelemetry providers that it has.

The agent itself does not use it: it sends via outputs.otlp, at a fraction of the cost. Both send the same.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection
from typing import Any, Final
from weakref import WeakKeyDictionary

from opentelemetry._logs import LoggerProvider, get_logger_provider
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined] # untyped module
from opentelemetry.metrics import MeterProvider, get_meter_provider

from otel_netagent.config.probe_selection import selected_probes
from otel_netagent.config.schema import Config
from otel_netagent.identity.kubernetes.watch import follow_pods
from otel_netagent.identity.naming import EntityNaming
from otel_netagent.identity.node_name import node_name
from otel_netagent.instrumentor.instruments import Instruments
from otel_netagent.instrumentor.records import LogRecords
from otel_netagent.pipeline.kernel_access import find_kernel_access
from otel_netagent.pipeline.periodic_worker import PeriodicWorker
from otel_netagent.pipeline.sources import RETRY_EVERY_S, Sources
from otel_netagent.probes import catalogue

_FIRST_S: Final = 10.0
"""How long `instrument` waits for the first numbers."""


class NetagentInstrumentor(BaseInstrumentor):  # type: ignore[misc] # for the same reason
    """Runs the probes from `instrument` to `uninstrument`.

    There is one in a process, as of every instrumentor: `NetagentInstrumentor()` is always the same.
    """

    # Of the one instance, and not set in __init__, which runs at each NetagentInstrumentor().
    _parts = contextlib.ExitStack()
    _instruments: Final[WeakKeyDictionary[MeterProvider, Instruments]] = WeakKeyDictionary()

    def instrumentation_dependencies(self) -> Collection[str]:
        """No package: what is instrumented is the kernel."""
        return ()

    def _instrument(
        self,
        *,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        config: Config | None = None,
        **_: Any,  # noqa: ANN401 - whatever else instrumentors are given, as tracer_provider
    ) -> None:
        """Start the probes; come back when the first numbers are there, or none have come for ten seconds.

        Providers are the global ones unless given. Of `config` it matters which probes run, with what settings, how
        often they collect, and whether headers do for BTF; without it the necessary ones run, every 5 seconds. Those
        that are unavailable are tried again, as the agent does.
        """
        config = config or Config()
        probes, node = catalogue(), node_name(os.environ)
        instruments = self._instruments_of(meter_provider or get_meter_provider(), node)
        records = LogRecords(logger_provider or get_logger_provider(), node)
        collected = threading.Event()
        with contextlib.ExitStack() as parts:
            parts.callback(instruments.clear)
            access = find_kernel_access(legacy=config.enable_legacy_version)
            parts.callback(access.walk.walk.close)
            naming = EntityNaming()
            parts.callback(follow_pods(os.environ, node, naming.know).close)
            sources = Sources(probes, access, naming=naming)
            parts.callback(sources.close)
            snapshots = [instruments.publish, lambda _: collected.set()]
            sources.apply(selected_probes(config, probes), snapshots, [records.emit], config.metric.interval)
            retries = PeriodicWorker("retries", sources.retry)
            parts.callback(retries.stop)
            retries.go(RETRY_EVERY_S, first_s=RETRY_EVERY_S)
            collected.wait(_FIRST_S)
            self._parts = parts.pop_all()

    def _uninstrument(self, **_: Any) -> None:  # noqa: ANN401
        """Stop the probes and leave nothing in the kernel; the instruments, which stay, show nothing."""
        self._parts.close()

    def _instruments_of(self, provider: MeterProvider, node: str) -> Instruments:
        """Created once for each provider, which would go on with the callbacks that it has if they came again."""
        if provider not in self._instruments:
            declared = {name: probe.series for name, probe in catalogue().items()}
            self._instruments[provider] = Instruments(provider, declared, node)
        return self._instruments[provider]
