"""What the agent's own transport for Loki's push API makes of a real log store."""

from __future__ import annotations

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.outputs.loki.address import push_url
from otel_netagent.outputs.loki.streams import StreamsEncoder
from otel_netagent.outputs.loki.transport import PushTransport
from otel_netagent.outputs.sending.outcome import Outcome
from tests.agent.command import NODE
from tests.outputs.samples import make_entity, make_event
from tools.stack.log_store import LogStore

_DAY_NS = 86_400_000_000_000


def made_up(now_ns: int, namespace: str, pod: str = "web-0") -> list[AttributedEvent]:
    """Three events of the last second, in the order of time."""
    entity = make_entity(pod=pod, namespace=namespace)
    return [make_event(entity, time_ns=now_ns - 1_000_000_000 + number) for number in range(3)]


def with_first_too_old(events: list[AttributedEvent]) -> list[AttributedEvent]:
    """The first one older than what a store keeps, a week."""
    old, *others = events
    return [old._replace(event=old.event._replace(time_ns=old.event.time_ns - 8 * _DAY_NS)), *others]


def push(store: LogStore, events: list[AttributedEvent]) -> Outcome:
    """Send them in one request."""
    (request,) = StreamsEncoder(NODE).encode(events)
    transport = PushTransport(push_url(store.push_address), {})
    try:
        return transport.send(request.body)
    finally:
        transport.close()
