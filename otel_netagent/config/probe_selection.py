"""Which probes a configuration asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from otel_netagent.config.schema import Config, KnownNames
from otel_netagent.pipeline.probe_set import ProbeSelection
from otel_netagent.probing.declaration import EventSettings, Probe
from otel_netagent.probing.occurrences import EVENTS
from otel_netagent.unknown_name import similar

NECESSARY: Final = "necessary"
"""What a configuration calls all the necessary probes together, so that it can name others besides."""


def known_names(catalogue: Mapping[str, Probe]) -> KnownNames:
    """What a configuration may name of these probes."""
    probes = catalogue.values()
    types = (each for probe in probes for each in probe.events if each.threshold_ms is not None)
    series = (EVENTS, *(each for probe in probes for each in probe.series))
    return KnownNames(
        metric_probes=_names(probe for probe in probes if probe.series),
        event_probes=_names(probe for probe in probes if probe.events),
        thresholds={name: each.name for each in types for name in (each.name, *each.aliases)},
        labels=frozenset(label for each in series for label in each.labels),
    )


def _names(probes: Iterable[Probe]) -> Mapping[str, str]:
    return {name: probe.name for probe in probes for name in (probe.name, *probe.aliases)} | {NECESSARY: NECESSARY}


def selected_probes(config: Config, catalogue: Mapping[str, Probe]) -> ProbeSelection:
    """What a configuration asks for.

    A section without names means the necessary probes; one that is switched off means none.
    """
    necessary = {name for name, probe in catalogue.items() if probe.necessary}
    measuring = {name for name, probe in catalogue.items() if probe.series}
    telling = {name for name, probe in catalogue.items() if probe.events}
    metrics = _named(config.metric.probes, necessary & measuring) if config.metric.enable else frozenset()
    events = _named(config.event.probes, necessary & telling) if config.event.enable else frozenset()
    return ProbeSelection(
        metrics & measuring,
        events & telling,
        EventSettings(config.event.events_per_second, config.event.thresholds, harmless=config.event.expected),
        {name: _why_not(name, "metrics", measuring, catalogue) for name in metrics - measuring}
        | {name: _why_not(name, "events", telling, catalogue) for name in events - telling},
    )


def _named(names: Collection[str], necessary: Collection[str]) -> frozenset[str]:
    """The probes that a section names, where one name stands for all the necessary ones."""
    named = frozenset(names or {NECESSARY})
    return named - {NECESSARY} | frozenset(necessary) if NECESSARY in named else named


def _why_not(name: str, what: str, able: Collection[str], catalogue: Mapping[str, Probe]) -> str:
    """Why a name that is asked for has none of what is asked for, which `able` probes have."""
    if name in catalogue:
        return f"this probe has no {what}"
    return "; ".join(filter(None, ("no such probe", similar(name, able))))
