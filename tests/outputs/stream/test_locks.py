"""Each lock of the event stream keeps out who comes in the midst."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import grpc
import pytest

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.outputs.stream import inspector_pb2 as pb
from otel_netagent.outputs.stream.filters import Filter
from otel_netagent.outputs.stream.service import EventStream
from otel_netagent.outputs.stream.subscription import Subscription
from tests.outputs.rival import Crossing, Rival
from tests.outputs.stream.samples import reset

ANY = Filter.of_watch(pb.WatchRequest())

_USES: Mapping[str, Callable[[Subscription], object]] = {
    "offer": lambda subscription: subscription.offer(b"new"),
    "next": lambda subscription: next(subscription.deliveries()),
    "close": lambda subscription: subscription.close(),
}


@pytest.mark.parametrize("use", ["offer", "next"])
@pytest.mark.parametrize("rivals", _USES)
def test_subscription_is_used_by_one_at_a_time(use: str, rivals: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subscription = Subscription(ANY, 2)
    waiting = Crossing([b"old", b"older"])
    monkeypatch.setattr(subscription, "_waiting", waiting)
    waiting.rival = rival = Rival(lambda: _USES[rivals](subscription))
    _USES[use](subscription)
    rival.check()


class _Call:
    """A client's call, which goes on."""

    def add_callback(self, _: Callable[[], None]) -> bool:
        return True


class _Wanted:
    """What a subscriber asks for, and who comes when it is looked up."""

    def __init__(self, rival: Rival) -> None:
        self._rival = rival

    def wants_event(self, _: str, __: AttributedEvent) -> bool:
        self._rival()
        return True


@pytest.mark.parametrize("rivals", ["watch", "leave", "publish", "close"])
def test_subscribers_come_and_go_while_no_event_is_handed_out(
    rivals: str, stream: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription, call = Subscription(ANY, 16), _Call()
    subscriptions = {subscription}
    monkeypatch.setattr(stream, "_subscriptions", subscriptions)
    acts: Mapping[str, Callable[[], object]] = {
        "watch": lambda: stream._subscribe(pb.WatchRequest(), cast(grpc.ServicerContext, call)),
        "leave": lambda: stream._unsubscribe(subscription),
        "publish": lambda: stream.publish(reset()),
        "close": stream.close,
    }
    rival = Rival(acts[rivals])
    subscription.wanted = cast(Filter, _Wanted(rival))
    stream.publish(reset())
    rival.check()
