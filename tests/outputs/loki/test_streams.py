"""Events as Loki's streams, read back by an independent reader of JSON."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.outputs.loki.streams import StreamsEncoder, without_metadata
from otel_netagent.outputs.sending import NO_POD, EncodedRequest, PodName
from tests.outputs.samples import NODE, TIME_NS, events, make_entity, make_event

ENCODER = StreamsEncoder(NODE)


def encoded(*items: AttributedEvent) -> EncodedRequest:
    (request,) = ENCODER.encode(items)
    return request


def entries(request: EncodedRequest) -> list[tuple[str, str]]:
    """Time and line of each, in the order of the request."""
    streams = json.loads(request.body)["streams"]
    return [(value[0], value[1]) for stream in streams for value in stream["values"]]


def test_event_is_an_entry_of_a_stream_with_few_labels() -> None:
    event = make_event(make_entity(pod="web", namespace="shop", netns=7))
    assert json.loads(encoded(event).body) == {
        "streams": [
            {
                "stream": {"job": "otel-netagent", "instance": NODE, "namespace": "shop", "type": "TCPRESET_NOSOCK"},
                "values": [
                    [
                        str(TIME_NS),
                        "type=TCPRESET_NOSOCK pod=web namespace=shop saddr=10.0.0.1 sport=443",
                        {
                            "source_address": "10.0.0.1",
                            "source_port": "443",
                            "pod": "web",
                            "netns": "ns7",
                            "event_name": "netagent.tcpreset.nosock",
                            "severity_text": "WARN",
                        },
                    ]
                ],
            }
        ]
    }


def test_pods_of_a_namespace_share_a_stream_in_the_order_of_time() -> None:
    late, early = make_event(make_entity(pod="a"), time_ns=2), make_event(make_entity(pod="b"), time_ns=1)
    request = encoded(late, early)
    assert len(json.loads(request.body)["streams"]) == 1
    assert [time for time, _ in entries(request)] == ["1", "2"]


def test_line_break_of_a_process_name_makes_no_second_line() -> None:
    ((_, line),) = entries(encoded(make_event(body="comm=a\ntype=FORGED")))
    assert line.endswith(r"comm=a\ntype=FORGED")


@given(st.lists(events(), min_size=1, max_size=8))
def test_nothing_is_lost_whatever_the_text(items: list[AttributedEvent]) -> None:
    request = encoded(*items)
    assert request.count == len(items)
    assert Counter(time for time, _ in entries(request)) == Counter(str(item.event.time_ns) for item in items)
    assert sum(ENCODER.contents(request).values()) == len(items)


@given(st.lists(events(), min_size=1, max_size=8))
def test_halves_are_the_whole(items: list[AttributedEvent]) -> None:
    request = encoded(*items)
    halves = ENCODER.halves(request)
    if len(items) == 1:
        assert halves is None
    else:
        assert halves is not None
        assert [half.count for half in halves] == [len(items) // 2, len(items) - len(items) // 2]
        assert [each for half in halves for each in entries(half)] == entries(request)


@given(st.lists(events(), min_size=1, max_size=8))
def test_without_metadata_is_the_rest(items: list[AttributedEvent]) -> None:
    request = encoded(*items)
    plain = json.loads(without_metadata(request.body))
    for stream, whole in zip(plain["streams"], json.loads(request.body)["streams"], strict=True):
        assert stream["stream"] == whole["stream"]
        assert stream["values"] == [[time, line] for time, line, _ in whole["values"]]


def test_contents_are_by_pod() -> None:
    web, db = make_entity(pod="web", namespace="shop"), make_entity(pod="db", namespace="shop")
    request = encoded(make_event(web), make_event(web), make_event(db))
    assert ENCODER.contents(request) == {PodName("shop", "web"): 2, PodName("shop", "db"): 1}
    assert ENCODER.pod(make_event(web)) == PodName("shop", "web")


def test_what_is_no_request_is_nobodys_and_has_no_halves() -> None:
    for body in (b"", b"{}", b"[]", b'{"streams": [{}]}', b"\xff"):
        assert ENCODER.contents(EncodedRequest(body, 2)) == {NO_POD: 2}
        assert ENCODER.halves(EncodedRequest(body, 2)) is None
