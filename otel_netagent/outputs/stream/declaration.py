"""The event stream as an output."""

from __future__ import annotations

from typing import Final

from otel_netagent.outputs.declaration import LocalOutput, Settings

_ENABLE: Final = "event_config.enable"
_PORT: Final = "event_config.port"


def _where(settings: Settings) -> str:
    return f"port {settings[_PORT]}" if settings[_ENABLE] else ""


OUTPUTS: Final = (
    LocalOutput(
        "event stream",
        "events over gRPC, for `inspector watch`; a subscriber that is too slow is sent how many it missed",
        settings=(_ENABLE, _PORT),
        variables=(),
        losses=(),
        where=_where,
    ),
)
