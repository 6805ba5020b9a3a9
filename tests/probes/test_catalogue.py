"""The catalogue: every name is there once, and every series is as specified."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from otel_netagent.model.series import Series
from otel_netagent.probes import catalogue
from otel_netagent.probing.declaration import Probe

CATALOGUE = catalogue()


class Specified(NamedTuple):
    """A row of the specification's table."""

    name: str
    aliases: str
    kind: str
    unit: str
    probe: str
    source: str
    meaning: str
    origin: str


def specification() -> Iterator[Specified]:
    with (Path(__file__).parent / "specification.tsv").open(newline="") as table:
        for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield Specified(**row)


SPECIFICATION = list(specification())


def all_series() -> Iterator[Series]:
    for probe in CATALOGUE.values():
        yield from probe.series


@pytest.mark.parametrize("row", SPECIFICATION, ids=lambda row: row.name)
def test_every_specified_series_is_declared_as_specified(row: Specified) -> None:
    declared = {series.name: series for series in CATALOGUE[row.probe].series}[row.name]
    assert (declared.kind.value, declared.unit) == (row.kind, row.unit)
    assert declared.aliases == tuple(filter(None, row.aliases.split(",")))


def test_a_probe_is_found_by_its_name() -> None:
    assert {name: probe.name for name, probe in CATALOGUE.items()} == {name: name for name in CATALOGUE}
    assert {"tcp", "tcpext", "udp", "netdev", "packetloss", "tcpreset"} <= CATALOGUE.keys()


def test_no_name_is_used_twice() -> None:
    """A name or alias of two series would break the whole page of /metrics."""
    names = Counter(name for series in all_series() for name in (series.name, *series.aliases))
    types = Counter(
        name for probe in CATALOGUE.values() for event in probe.events for name in (event.name, *event.aliases)
    )
    event_names = Counter(event.event_name for probe in CATALOGUE.values() for event in probe.events)
    assert [name for counted in (names, types, event_names) for name, count in counted.items() if count > 1] == []


def test_names_are_fit_for_every_output() -> None:
    for series in all_series():
        for name in (series.name, *series.aliases):
            assert re.fullmatch(r"[a-z][a-z0-9_]+", name)
        assert re.match(r"(inspector_(pod|node)|netagent)_", series.name)
        assert all(re.fullmatch(r"[a-z]+", label) for label in series.labels)


@pytest.mark.parametrize("probe", CATALOGUE.values(), ids=lambda probe: probe.name)
def test_a_probe_says_what_it_does(probe: Probe) -> None:
    assert probe.series or probe.events
    assert probe.summary
    assert probe.cost
    for series in probe.series:
        assert series.help
        assert series.source
        assert series.unit
    for event in probe.events:
        assert event.fires_when
        assert event.event_name.startswith(f"netagent.{probe.name}")
        assert event.guidance
        assert event.guidance.example
        assert event.guidance.causes
        assert event.guidance.look_at
