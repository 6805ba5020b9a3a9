"""The HTTP server as an output: the numbers of the last collection for Prometheus, and the state of the agent."""

from __future__ import annotations

from typing import Final

from otel_netagent.outputs.declaration import LocalOutput, Settings

_ENABLE: Final = "metric_config.enable"
_PORT: Final = "metric_config.port"


def _where(settings: Settings) -> str:
    return f"port {settings[_PORT]}, /metrics" if settings[_ENABLE] else ""


OUTPUTS: Final = (
    LocalOutput(
        "Prometheus",
        "`/metrics` for a scraper; it has what was collected last, so that nothing waits and nothing is lost",
        settings=(_ENABLE, _PORT, "metric_config.aliases", "metric_config.timestamps"),
        variables=(),
        losses=(),
        where=_where,
    ),
)
