"""Events through the OpenTelemetry API: each as a log record."""

from __future__ import annotations

import functools
import time

from opentelemetry._logs import Logger, LoggerProvider, SeverityNumber

from otel_netagent import __version__
from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.outputs.otlp.attributes import entity_attributes, scope_name, valid_attribute
from otel_netagent.unicode import well_formed


class LogRecords:
    """Emits events through the loggers of a provider.

    A provider has one resource for all records, so the entity is in the attributes of each record.
    """

    def __init__(self, provider: LoggerProvider, node: str) -> None:
        """Emit events of the node of this name."""
        self._logger = functools.cache(functools.partial(_logger, provider))  # as many as there are probes
        self._node = node

    def emit(self, occurrence: AttributedEvent) -> None:
        """Emit one event, which is observed now."""
        event = occurrence.event
        attributes = {**event.attributes, **entity_attributes(occurrence.entity, self._node)}
        self._logger(event.probe).emit(
            timestamp=event.time_ns,
            observed_timestamp=time.time_ns(),
            severity_number=SeverityNumber(event.type.severity.value),
            severity_text=event.type.severity.name,
            body=well_formed(occurrence.line),
            attributes={key: valid_attribute(value) for key, value in attributes.items()},
            event_name=event.type.event_name,
        )


def _logger(provider: LoggerProvider, probe: str) -> Logger:
    return provider.get_logger(scope_name(probe), __version__)
