"""The probes that a configuration selects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from otel_netagent.config.schema import Config, KnownNames
from otel_netagent.pipeline.probe_set import ProbeSelection
from otel_netagent.probing.declaration import EventSettings, Probe
from otel_netagent.probing.occurrences import EVENTS
from otel_netagent.unknown_name import similar

NECESSARY: Final = "necessary"
"""Stands for all necessary probes in a configuration, so that it can add others to them."""


def known_names(catalogue: Mapping[str, Probe]) -> KnownNames:
    """The names of these probes that a configuration may use."""
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
    """The selection of a configuration.

    A section without names selects the necessary probes; a section that is switched off selects none.
    """
    necessary = {name for name, probe in catalogue.items() if probe.necessary}
    with_metrics = {name for name, probe in catalogue.items() if probe.series}
    with_events = {name for name, probe in catalogue.items() if probe.events}
    metrics = _named(config.metric.probes, necessary & with_metrics) if config.metric.enable else frozenset()
    events = _named(config.event.probes, necessary & with_events) if config.event.enable else frozenset()
    return ProbeSelection(
        metrics & with_metrics,
        events & with_events,
        EventSettings(config.event.events_per_second, config.event.thresholds, expected=config.event.expected),
        {name: _why_not(name, "metrics", with_metrics, catalogue) for name in metrics - with_metrics}
        | {name: _why_not(name, "events", with_events, catalogue) for name in events - with_events},
    )


def _named(names: Collection[str], necessary: Collection[str]) -> frozenset[str]:
    """The probes that a section names, with `necessary` replaced by the necessary probes."""
    named = frozenset(names or {NECESSARY})
    return named - {NECESSARY} | frozenset(necessary) if NECESSARY in named else named


def _why_not(name: str, what: str, able: Collection[str], catalogue: Mapping[str, Probe]) -> str:
    """Why a name in a section cannot be used; `able` are the probes that can."""
    if name in catalogue:
        return f"this probe has no {what}"
    return "; ".join(filter(None, ("no such probe", similar(name, able))))
