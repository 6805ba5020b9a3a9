"""The agent's own telemetry over OTLP: encoded by the SDK, sent by the same transports as everything else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricsData

from otel_netagent.outputs.otlp.connect import connect
from otel_netagent.outputs.otlp.environment import Destination
from otel_netagent.outputs.sending.outcome import Accepted

logger = logging.getLogger(__name__)

_EVERY_S: Final = 15.0
"""Prometheus' usual interval. An export costs a third of a collection of 100 pods."""

_END_S: Final = 0.5


class SelfExport:
    """A thread that exports periodically. It does not retry: the next export has the cumulative counters."""

    def __init__(
        self, destination: Destination, data: Callable[[], MetricsData | None], every_s: float = _EVERY_S
    ) -> None:
        """Export the result of `data` now, and then every `every_s` seconds."""
        self._transport = connect(destination)
        self._data = data
        self._every_s = every_s
        self._failing = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="self-telemetry", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop exporting. A request in progress is cancelled over gRPC, and abandoned over HTTP."""
        self._stopping.set()
        self._transport.close()
        self._thread.join(_END_S)

    def _run(self) -> None:
        self._export()
        while not self._stopping.wait(self._every_s):
            self._export()

    def _export(self) -> None:
        if (data := self._data()) is None:
            return
        outcome = self._transport.send(encode_metrics(data).SerializeToString())
        failed = not isinstance(outcome, Accepted)
        # An outage is logged when it begins and when it ends, not at each try.
        if failed != self._failing and not self._stopping.is_set():
            self._failing = failed
            if isinstance(outcome, Accepted):
                logger.warning("self-telemetry: %s accepts it again", self._transport.target)
            else:
                logger.warning("self-telemetry: cannot export to %s: %s", self._transport.target, outcome.reason)
