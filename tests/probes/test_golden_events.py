"""Every kind of event is as it was, its line to the byte, and as its type declares."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Mapping
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.kernel.bpf.layout import BadRecord
from otel_netagent.model.event import Event
from otel_netagent.outputs.otlp.logs import LogsEncoder, Observed
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.pipeline.suppressed import EVENTS_SUPPRESSED
from otel_netagent.probes import catalogue
from otel_netagent.probes.packetloss import PACKETLOSS
from otel_netagent.probes.tcpretrans import TCPRETRANS
from otel_netagent.probing.flow import FlowParts
from otel_netagent.probing.segment import SAME_SEGMENT
from tests.event_page import declared, documented
from tests.outputs.samples import NODE, make_entity
from tests.probes.golden import Decode, decoders, events, golden, recorded
from tests.probes.records import records

EVENT_TYPES: Final = (EVENTS_SUPPRESSED, *(each for probe in catalogue().values() for each in probe.events))


@pytest.fixture(scope="module")
def by_probe(access: KernelAccess) -> Iterator[Mapping[str, Decode]]:
    with decoders(access) as by_probe:
        yield by_probe


@pytest.fixture(scope="module")
def decoded(by_probe: Mapping[str, Decode]) -> Mapping[str, Event]:
    return dict(events(by_probe))


@pytest.mark.parametrize("name", recorded())
def test_an_event_is_as_it_was(decoded: Mapping[str, Event], name: str) -> None:
    event, expected = golden(decoded[name]), recorded()[name]
    assert event == expected
    assert list(event["attributes"]) == list(expected["attributes"]), "their order is that of a log record"


def test_no_event_is_new(decoded: Mapping[str, Event]) -> None:
    assert decoded.keys() == recorded().keys()


def test_every_event_is_declared_and_documented(decoded: Mapping[str, Event]) -> None:
    for event in decoded.values():
        declared(event)


def test_every_declared_attribute_is_on_some_event(decoded: Mapping[str, Event]) -> None:
    seen = {each for event in decoded.values() for each in event.type.attributes if each.name in event.attributes}
    assert {each for event_type in EVENT_TYPES for each in event_type.attributes} == seen


def test_every_type_is_there_and_has_each_attribute_once(decoded: Mapping[str, Event]) -> None:
    assert {event.type.name for event in decoded.values()} == {event_type.name for event_type in EVENT_TYPES}
    for event_type in EVENT_TYPES:
        assert len({each.name for each in event_type.attributes}) == len(event_type.attributes)
        keys = [each.key for each in event_type.attributes if each.key]
        assert len(set(keys)) == len(keys)


_SIZES: Final = {record.probe: len(record.content) for record in records()}
_KNOWN: Final = struct.calcsize("=QQII16s16sHHHB")
"""Where the records of flows have what of the flow is known."""
_OF_SOCKETS: Final = {"socketlatency", "tcpretrans"}
"""These tell the two ends of a socket, and never anything else of a flow."""


@given(data=st.data(), probe=st.sampled_from(sorted(_SIZES)), kind=st.integers(0, 5))
def test_whatever_a_record_holds_its_event_is_declared(
    by_probe: Mapping[str, Decode], data: st.DataObject, probe: str, kind: int
) -> None:
    content = bytearray(data.draw(st.binary(min_size=_SIZES[probe], max_size=_SIZES[probe])))
    struct.pack_into("=I", content, 20, kind)
    if probe in _OF_SOCKETS:
        content[_KNOWN] = FlowParts.ADDRESSES | FlowParts.PORTS
    with contextlib.suppress(BadRecord):
        declared(by_probe[probe](bytes(content), 0))


def test_a_log_record_has_the_types_that_are_documented(decoded: Mapping[str, Event]) -> None:
    entity, encoder = make_entity(), LogsEncoder(Resource({}), NODE)
    for event in decoded.values():
        (request,) = encoder.encode([Observed(AttributedEvent(event, entity), 1)])
        (resource,) = ExportLogsServiceRequest.FromString(request.body).resource_logs
        sent = {each.key: each.value.WhichOneof("value") for each in resource.scope_logs[0].log_records[0].attributes}
        types = documented()[event.type.name].attributes
        assert sent == {name: "int_value" if types[name] is int else "string_value" for name in event.attributes}


def test_both_events_of_a_lost_segment_say_which_it_is() -> None:
    for event_type in (PACKETLOSS, TCPRETRANS):
        assert {each.name for each in SAME_SEGMENT} <= {each.name for each in event_type.attributes}
