"""A retransmission is joined to the drop of the same segment, and to no other."""

from __future__ import annotations

import pytest

from otel_netagent.model.attribute import AttributeValue
from otel_netagent.model.event import Event
from otel_netagent.pipeline.drop_correlation import REMEMBERED, DropCorrelator
from otel_netagent.probes.packetloss import PACKETLOSS
from otel_netagent.probes.tcpretrans import TCPRETRANS

SECOND = 1_000_000_000
FLOW: dict[str, AttributeValue] = {
    "source.address": "10.0.0.1",
    "source.port": 4000,
    "destination.address": "10.0.0.2",
    "destination.port": 80,
    "netagent.tcp.sequence": 12345,
}
DROP = Event(
    probe="packetloss",
    type=PACKETLOSS,
    time_ns=10 * SECOND,
    netns=1,
    netns_cookie=1,
    attributes=FLOW | {"netagent.drop.reason": "NETFILTER_DROP", "netagent.drop.location": "nft_do_chain"},
)
AGAIN = Event(
    probe="tcpretrans",
    type=TCPRETRANS,
    time_ns=11 * SECOND,
    netns=2,
    netns_cookie=2,
    attributes=FLOW | {"netagent.retransmission.segment": "DATA"},
)


def test_a_retransmission_has_the_place_and_the_reason_of_the_drop() -> None:
    correlator = DropCorrelator()
    assert correlator.joined(DROP) is DROP
    joined = correlator.joined(AGAIN)
    assert joined.attributes == {**DROP.attributes, **AGAIN.attributes}
    assert joined.body == f"{AGAIN.body} drop:NETFILTER_DROP at:nft_do_chain"
    assert joined[:5] == AGAIN[:5]


@pytest.mark.parametrize(
    "other",
    [
        {"netagent.tcp.sequence": 12346},
        {"source.address": "10.0.0.3"},
        {"source.port": 4001},
        {"destination.address": "10.0.0.3"},
        {"destination.port": 81},
        {"source.address": "10.0.0.2", "source.port": 80, "destination.address": "10.0.0.1", "destination.port": 4000},
    ],
    ids=["number", "source", "source port", "destination", "destination port", "direction"],
)
def test_another_segment_has_not(other: dict[str, str | int]) -> None:
    correlator = DropCorrelator()
    correlator.joined(DROP)
    again = AGAIN.adding(other)
    assert correlator.joined(again) is again


@pytest.mark.parametrize("time_ns", [9 * SECOND, 131 * SECOND])
def test_a_drop_that_came_later_or_is_long_ago_is_no_cause(time_ns: int) -> None:
    correlator = DropCorrelator()
    correlator.joined(DROP)
    again = AGAIN._replace(time_ns=time_ns)
    assert correlator.joined(again) is again


def test_other_events_pass_as_they_are() -> None:
    event = Event(*DROP[:5], {"netagent.drop.reason": "NO_SOCKET"})
    assert DropCorrelator().joined(event) is event


def test_only_the_last_drops_are_remembered() -> None:
    correlator = DropCorrelator()
    for sequence in range(REMEMBERED + 1):
        correlator.joined(DROP.adding({"netagent.tcp.sequence": sequence}))
    first, last = (AGAIN.adding({"netagent.tcp.sequence": sequence}) for sequence in (0, REMEMBERED))
    assert correlator.joined(first) is first
    assert "drop:" in correlator.joined(last).body
