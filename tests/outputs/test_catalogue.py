"""What outputs declare is what they do: the keys and variables that they read, and where their losses are counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from otel_netagent.config.schema import Config, settings_of
from otel_netagent.outputs.catalogue import catalogue
from otel_netagent.outputs.declaration import LocalOutput, Output
from otel_netagent.outputs.self_telemetry.instruments import OBSERVABLES, InstrumentKind
from otel_netagent.outputs.sending import close_all
from otel_netagent.outputs.sending.sender import SenderContext, SendingOutput
from tests.outputs.samples import NODE

DOCS = Path(__file__).parents[2] / "docs"

OUTPUTS = {output.name: output for output in catalogue()}
SENDING = {name: output for name, output in OUTPUTS.items() if isinstance(output, SendingOutput)}
LOCAL = {name: output for name, output in OUTPUTS.items() if isinstance(output, LocalOutput)}

OF_NO_OUTPUT = {
    "debugmode",
    "enable_legacy_version",
    "metric_config.interval",
    "metric_config.probes",
    "metric_config.verbose",
    "metric_config.expose_labels",
    "event_config.probes",
    "event_config.thresholds",
    "event_config.events_per_second",
    "event_config.expected",
}
"""Keys that say what is collected, not where it goes."""

ON: Mapping[str, Mapping[str, Any]] = {"Loki": {"event_config.loki_enable": True, "event_config.loki_address": "loki"}}
"""Settings with which an output sends, but for OTLP, which the environment switches on."""


class Recorded(Mapping[str, Any]):
    """Knows which of its keys were looked at."""

    def __init__(self, items: Mapping[str, object]) -> None:
        """None yet."""
        self._items = items
        self.asked: set[str] = set()

    def __getitem__(self, key: str) -> object:
        """Note the key."""
        self.asked.add(key)
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        """Whoever goes through all of them looks at all."""
        self.asked.update(self._items)
        return iter(self._items)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._items)


@pytest.fixture(params=SENDING)
def started(request: pytest.FixtureRequest) -> Iterator[tuple[SendingOutput, SenderContext]]:
    """An output that sends, started where it is asked to, and what it was started with."""
    output = SENDING[request.param]
    settings = Recorded({**settings_of(Config()), **ON.get(output.name, {})})
    environ = Recorded({"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:9", "OTEL_EXPORTER_OTLP_INSECURE": "false"})
    context = SenderContext(NODE, Resource({}), environ, settings, 1 << 20, None)
    sender = output.start(context)
    assert sender is not None
    assert sender.delivery.name == output.name
    assert (sender.snapshot is None) != (sender.event is None)
    yield output, context
    close_all([sender.delivery])


def test_what_sends_reads_the_keys_and_variables_that_it_declares(started: tuple[SendingOutput, SenderContext]) -> None:
    output, context = started
    assert isinstance(context.settings, Recorded)
    assert isinstance(context.environ, Recorded)
    assert context.settings.asked == set(output.settings)
    read = {name.replace("OTLP_METRICS_", "OTLP_").replace("OTLP_LOGS_", "OTLP_") for name in context.environ.asked}
    assert read == set(output.variables)


@pytest.mark.parametrize("name", SENDING)
def test_what_is_not_asked_to_send_does_not(name: str) -> None:
    context = SenderContext(NODE, Resource({}), {}, settings_of(Config()), 1 << 20, None)
    assert SENDING[name].start(context) is None


@pytest.mark.parametrize("output", LOCAL.values(), ids=LOCAL)
def test_what_is_to_be_had_here_says_where_and_may_be_switched_off(output: LocalOutput) -> None:
    settings = Recorded(settings_of(Config()))
    assert output.where(settings)
    assert settings.asked <= set(output.settings)
    switches = [key for key in settings.asked if settings[key] is True]
    assert switches
    assert [output.where({**settings_of(Config()), key: False}) for key in switches] == [""] * len(switches)


def test_every_key_of_the_file_belongs_to_an_output_or_says_what_is_collected() -> None:
    keys = {key for key in settings_of(Config()) if not key.startswith("delivery.")}
    declared = {key for output in OUTPUTS.values() for key in output.settings}
    assert declared.isdisjoint(OF_NO_OUTPUT)
    assert declared | OF_NO_OUTPUT == keys


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_losses_are_counted_where_it_says(output: Output) -> None:
    instruments = {each.name: each for each in OBSERVABLES}
    for loss in output.losses:
        instrument = instruments[loss.instrument]
        assert instrument.kind is InstrumentKind.COUNTER
        assert loss.attributes.keys() <= set(instrument.attributes)


def test_the_pages_know_them() -> None:
    configuration = (DOCS / "configuration.md").read_text(encoding="utf-8")
    for output in OUTPUTS.values():
        for variable in output.variables:
            short = variable.replace("OTEL_EXPORTER_OTLP_", "_")
            assert f"`{variable}`" in configuration or f"`{short}`" in configuration, variable
        for key in output.settings:
            assert f"`{key}`" in configuration
    own = (DOCS / "self-telemetry.md").read_text(encoding="utf-8")
    *others, last = (f"`{name}`" for name in ("OTLP metrics", "OTLP logs", "Loki"))
    assert f"`delivery` is one of {', '.join(others)} and {last}" in own
    assert {"OTLP metrics", "OTLP logs", "Loki"} == SENDING.keys()
