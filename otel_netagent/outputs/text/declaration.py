"""Lines of text as an output."""

from __future__ import annotations

from typing import Final

from otel_netagent.outputs.declaration import LocalOutput, Loss, Settings

_ENABLE: Final = "event_config.enable"
_INFOTOLOG: Final = "event_config.infotolog"


def _where(settings: Settings) -> str:
    return "standard error" if settings[_ENABLE] and settings[_INFOTOLOG] else ""


OUTPUTS: Final = (
    LocalOutput(
        "event lines",
        "a line for each event on standard error",
        settings=(_ENABLE, _INFOTOLOG),
        variables=(),
        losses=(Loss("netagent.text.lost", {}),),
        where=_where,
    ),
)
