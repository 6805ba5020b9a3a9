"""Loki as an output: events, pushed where the configuration says."""

from __future__ import annotations

from typing import Final

from otel_netagent.outputs.loki.address import push_url
from otel_netagent.outputs.loki.streams import StreamsEncoder
from otel_netagent.outputs.sending.sender import EVENT_LIMITS, Sender, SenderContext, SendingOutput, dropped_by

_ENABLE: Final = "event_config.loki_enable"
_ADDRESS: Final = "event_config.loki_address"


def _start(context: SenderContext) -> Sender | None:
    """Raises LokiAddressError."""
    if not context.settings[_ENABLE]:
        return None
    url = push_url(context.settings[_ADDRESS])
    # As HTTP for OTLP: who does not push saves the memory of its libraries.
    from otel_netagent.outputs.loki.transport import PushTransport  # noqa: PLC0415

    transport = PushTransport(url, context.environ)
    delivery = context.delivery(_LOKI.name, StreamsEncoder(context.node), transport, EVENT_LIMITS)
    return Sender(delivery, event=delivery.put)


_LOKI: Final = SendingOutput(
    "Loki",
    "events, pushed to Loki or to what has its API",
    settings=(_ENABLE, _ADDRESS),
    variables=("LOKI_TENANT", "LOKI_AUTHORIZATION"),
    losses=dropped_by("Loki"),
    spool="loki",
    start=_start,
)

OUTPUTS: Final = (_LOKI,)
