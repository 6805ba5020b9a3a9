"""Every kind of event is as it was: its line to the byte, and its attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from otel_netagent.model.event import Event
from otel_netagent.pipeline.kernel_access import KernelAccess
from tests.probes.golden import decoders, events, golden, recorded


@pytest.fixture(scope="module")
def decoded(access: KernelAccess) -> Iterator[Mapping[str, Event]]:
    with decoders(access) as by_probe:
        yield dict(events(by_probe))


@pytest.mark.parametrize("name", recorded())
def test_an_event_is_as_it_was(decoded: Mapping[str, Event], name: str) -> None:
    event, expected = golden(decoded[name]), recorded()[name]
    assert event == expected
    assert list(event["attributes"]) == list(expected["attributes"]), "their order is that of a log record"


def test_no_event_is_new(decoded: Mapping[str, Event]) -> None:
    assert decoded.keys() == recorded().keys()
