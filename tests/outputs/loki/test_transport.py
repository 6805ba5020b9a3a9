"""What becomes of a push, at a Loki of each age."""

from __future__ import annotations

from collections import deque

import pytest

from lab.waiting import eventually
from otel_netagent.outputs.loki.streams import StreamsEncoder
from otel_netagent.outputs.loki.transport import PushTransport
from otel_netagent.outputs.sending import Cause, Delivery, Limits
from otel_netagent.outputs.sending.outcome import Accepted, Outcome, Refused, Retryable, TooLarge
from tests.outputs.loki.server import Answer, Loki, serving
from tests.outputs.otlp.sending import closing_server, dead_port
from tests.outputs.samples import NODE, TIME_NS, make_event
from tests.outputs.sending.deliveries import QUICK, lines

EVENTS = [make_event(time_ns=TIME_NS + number) for number in range(3)]
BODY = StreamsEncoder(NODE).encode(EVENTS)[0].body


def push(loki: Loki, times: int = 1, *, plain_s: float = 600.0, **environ: str) -> list[Outcome]:
    with serving(loki):
        transport = PushTransport(loki.url, environ, plain_s=plain_s)
        try:
            return [transport.send(BODY) for _ in range(times)]
        finally:
            transport.close()


def refused(status: int, text: str = "", **headers: str) -> Loki:
    return Loki(answers=deque([Answer(status, text, headers)]))


def test_push_is_taken_with_everything() -> None:
    loki = Loki()
    assert push(loki) == [Accepted()]
    assert loki.lines == [event.line for event in EVENTS]
    assert {entry.metadata["source_port"] for entry in loki.entries} == {"443"}


def test_tenant_and_authorization_come_from_the_environment() -> None:
    loki = Loki()
    push(loki, LOKI_TENANT="net", LOKI_AUTHORIZATION="Bearer x")
    assert loki.headers[0].items() >= {"x-scope-orgid": "net", "authorization": "Bearer x"}.items()
    loki = Loki()
    push(loki)
    assert not {"x-scope-orgid", "authorization"} & loki.headers[0].keys()


@pytest.mark.parametrize(("version", "allowed"), [((2, 8), True), ((2, 3), True), ((3, 0), False)])
def test_loki_that_takes_no_metadata_gets_the_lines(
    version: tuple[int, int], allowed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    loki = Loki(version=version, metadata_allowed=allowed)
    assert push(loki, 2)[0] == Accepted()
    assert loki.lines[:3] == [event.line for event in EVENTS]
    assert not any(entry.metadata for entry in loki.entries)
    assert len(loki.headers) == 3, "it is found out once"
    (line,) = lines(caplog)
    assert line.startswith(f"{loki.url} rejects structured metadata, sending it lines only: ")


def test_metadata_is_offered_again_later() -> None:
    loki = Loki(version=(2, 8))
    with serving(loki):
        transport = PushTransport(loki.url, {}, plain_s=0.0)
        transport.send(BODY)
        loki.version = (3, 0)
        transport.send(BODY)
        transport.close()
    assert [bool(entry.metadata) for entry in loki.entries] == [False] * 3 + [True] * 3


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_overloaded_loki_is_asked_again(status: int) -> None:
    (outcome,) = push(refused(status, "Ingestion rate limit exceeded", **{"Retry-After": "7"}))
    assert outcome == Retryable(f"HTTP status {status}: Ingestion rate limit exceeded", 7.0)


@pytest.mark.parametrize("status", [401, 403, 404, 418, 301])
def test_refusal_is_final(status: int) -> None:
    assert push(refused(status, "no org id")) == [Refused(f"HTTP status {status}: no org id")]


@pytest.mark.parametrize(("status", "text"), [
    (413, ""),
    (400, "http: request body too large"),
    (500, "rpc error: code = ResourceExhausted desc = trying to send message larger than max (9 vs. 4)"),
])  # fmt: skip
def test_size_is_refused(status: int, text: str) -> None:
    (outcome,) = push(refused(status, text))
    assert isinstance(outcome, TooLarge)


def test_entry_that_is_too_old_is_left_out_and_the_others_stay() -> None:
    loki = Loki(oldest_ns=TIME_NS + 1)
    (outcome,) = push(loki)
    assert isinstance(outcome, Accepted)
    assert outcome.rejected == 1
    assert loki.lines == [event.line for event in EVENTS[1:]]
    assert len(loki.headers) == 1, "what was taken is not sent again"


@pytest.mark.parametrize(("text", "rejected"), [
    ("entry for stream '{a=\"b\"}' has timestamp too old: 2020, oldest acceptable timestamp is: 2021", 1),
    ("5 errors like: entry for stream '{}' has timestamp too old; 1 errors like: entry for stream '{}' is too long", 6),
    ("entry with timestamp 1 ignored, reason: 'entry out of order' for stream: {},\ntotal ignored: 2 out of 3", 2),
])  # fmt: skip
def test_rejected_are_counted_by_what_loki_says(text: str, rejected: int) -> None:
    (outcome,) = push(refused(400, text))
    assert isinstance(outcome, Accepted)
    assert outcome.rejected == rejected


def test_loki_of_another_kind_that_understands_nothing_is_a_refusal() -> None:
    loki = Loki(answers=deque([Answer(400, "what?"), Answer(400, "what?")]))
    assert push(loki) == [Refused("HTTP status 400: what?")]


def test_no_answer_is_asked_again() -> None:
    with dead_port() as dead, closing_server() as closing:
        for port in (dead, closing):
            transport = PushTransport(f"http://127.0.0.1:{port}/loki/api/v1/push", {})
            assert isinstance(transport.send(BODY), Retryable)
            transport.close()


def test_body_that_a_spool_spoilt_is_refused() -> None:
    with serving(refused(400, "cannot parse")) as loki:
        transport = PushTransport(loki.url, {})
        assert transport.send(b"{}") == Refused("the request cannot be decoded")
        transport.close()


def test_delivery_comes_through_what_loki_does() -> None:
    """Overload, an entry too old, a limit of size, an old order of things: all that can arrive arrives once."""
    loki = Loki(oldest_ns=TIME_NS + 1, answers=deque([Answer(429), Answer(503), Answer(413)]))
    with serving(loki):
        transport = PushTransport(loki.url, {})
        delivery = Delivery("Loki", StreamsEncoder(NODE), transport, Limits(64, batch=8, linger_s=0.05), backoff=QUICK)
        for number in range(8):
            delivery.put(make_event(time_ns=TIME_NS + number))
        eventually(lambda: delivery.statistics.delivered == 7)
        statistics = delivery.statistics
        delivery.stop()
        delivery.join(0.0)
    assert sorted(entry.time_ns - TIME_NS for entry in loki.entries) == list(range(1, 8))
    assert (statistics.delivered, statistics.dropped[Cause.REJECTED], statistics.failed_tries) == (7, 1, 3)


def test_proxy_that_rejects_everything_for_its_size_is_outlasted() -> None:
    answer = Answer(413, "<html> <h1>413 Request Entity Too Large</h1>")
    with serving(Loki(answers=deque([answer] * 40))) as loki:
        transport = PushTransport(loki.url, {})
        delivery = Delivery("Loki", StreamsEncoder(NODE), transport, Limits(64, batch=8, linger_s=60), backoff=QUICK)
        for number in range(8):
            delivery.put(make_event(time_ns=TIME_NS + number))
        eventually(lambda: delivery.statistics.delivered == 8)
        before = len(loki.headers)
        for number in range(8, 24):
            delivery.put(make_event(time_ns=TIME_NS + number))
        eventually(lambda: delivery.statistics.delivered == 24)
        delivery.stop()
        delivery.join(0.0)
    assert sorted(entry.time_ns - TIME_NS for entry in loki.entries) == list(range(24))
    assert len(loki.headers) - before == 2, "requests are as large as before"
    assert sum(delivery.statistics.dropped.values()) == 0
