"""The agent's own telemetry by OTLP, with the SDK's exporters."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

import grpc
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from otel_netagent.telemetry.otlp.environment import Compression, Destination, Protocol
from otel_netagent.telemetry.otlp.grpc_transport import credentials
from otel_netagent.telemetry.tls import Renewal, Tls

logger = logging.getLogger(__name__)

_AT_LEAST_EVERY_S: Final = 60.0
"""Also while nothing is collected, which is when one wants to know."""

_END_S: Final = 0.5


class SelfExport:
    """A thread that exports after each collection. What a receiver misses is in what it gets next: counters go on."""

    def __init__(self, destination: Destination, data: Callable[[], MetricsData | None]) -> None:
        """`data` gives what is exported."""
        # The exporters tell of each try, some with a traceback; here an outage is told when it begins and when it ends.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL + 1)
        self._destination = destination
        self._data = data
        self._renewal = Renewal(destination.tls)
        self._exporter = _exporter(destination)
        self._failing = False
        self._stopping = False
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="self-telemetry", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Export soon; does not wait."""
        self._due.set()

    def close(self) -> None:
        """Export no more. A request under way is given up, by HTTP left to itself."""
        self._stopping = True
        self._due.set()
        self._exporter.shutdown()
        self._thread.join(_END_S)

    def _run(self) -> None:
        while True:
            self._due.wait(_AT_LEAST_EVERY_S)
            self._due.clear()
            if self._stopping:
                return
            self._export()

    def _export(self) -> None:
        if self._renewal.happened():
            self._exporter.shutdown()
            self._exporter = _exporter(self._destination)
        if (data := self._data()) is None:
            return
        try:
            failed = self._exporter.export(data) is not MetricExportResult.SUCCESS
        except ValueError:  # gRPC's answer where `close` has closed the channel meanwhile
            failed = True
        if failed != self._failing and not self._stopping:
            self._failing = failed
            takes = "does not take it" if failed else "takes it again"
            logger.warning("self-telemetry: %s %s", self._destination.address, takes)


def _exporter(to: Destination) -> MetricExporter:
    """The one for the protocol. All is said here, so that what SDKs read otherwise in the environment has no effect."""
    return _grpc_exporter(to) if to.protocol is Protocol.GRPC else _http_exporter(to)


def _grpc_exporter(to: Destination) -> MetricExporter:
    # Of the two, only what is used is loaded: each brings libraries of its own.
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

    compress = to.compression is not Compression.NONE
    return OTLPMetricExporter(
        to.address,
        insecure=to.tls is None,
        credentials=credentials(to.tls) if to.tls else None,
        headers=dict(to.headers),
        timeout=to.timeout_s,
        compression=grpc.Compression.Gzip if compress else grpc.Compression.NoCompression,
    )


def _http_exporter(to: Destination) -> MetricExporter:
    from opentelemetry.exporter.otlp.proto.http import Compression as Packing  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

    from otel_netagent.telemetry.http_post import session_to  # noqa: PLC0415

    tls = to.tls or Tls()
    return OTLPMetricExporter(
        to.address,
        certificate_file=tls.ca,
        client_key_file=tls.client_key,
        client_certificate_file=tls.client_certificate,
        headers=dict(to.headers),
        timeout=to.timeout_s,
        session=session_to(to.address, tls),
        # The SDK's has no zstd.
        compression=Packing.NoCompression if to.compression is Compression.NONE else Packing.Gzip,
    )
