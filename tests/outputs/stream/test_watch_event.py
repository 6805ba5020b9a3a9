"""WatchEvent: who gets which events, what a slow one loses, and how a stream ends."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from otel_netagent.outputs.stream import inspector_pb2 as pb
from otel_netagent.outputs.stream import rpc
from otel_netagent.outputs.stream.service import EventStream
from tests.outputs.stream.original_client import OriginalClient
from tests.outputs.stream.samples import DB, NODE, SNAPSHOT, WEB, loss, reset, wait_until

Connect = Callable[..., OriginalClient]


def test_event_arrives_with_its_name_body_and_whom_it_happened_to(stream: EventStream, client: OriginalClient) -> None:
    call = client.watch()
    stream.publish(reset(WEB, "protocol=TCP saddr=10.0.0.1 sport=80 daddr=10.0.0.2 dport=4000"))
    reply = next(call)
    assert (reply.name, reply.event.name) == ("TCPRESET_NOSOCK", "TCPRESET_NOSOCK")
    assert reply.event.value == "protocol=TCP saddr=10.0.0.1 sport=80 daddr=10.0.0.2 dport=4000"
    meta = reply.event.meta
    assert (meta.node, meta.pod, meta.namespace, meta.netns) == (NODE, "web-0", "shop", "ns4026531993")


def test_bytes_that_are_no_utf8_in_a_name_of_the_kernel_do_not_stop_the_stream(
    stream: EventStream, client: OriginalClient
) -> None:
    call = client.watch()
    command = b"\xffsh".decode(errors="surrogateescape")
    stream.publish(reset(dataclasses.replace(WEB, pod=command), f"pid=1 comm={command}"))
    event = next(call).event
    assert (event.meta.pod, event.value) == ("\ufffdsh", "pid=1 comm=\ufffdsh")


def test_event_carries_the_kernels_time(stream: EventStream) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{stream.port}") as channel:
        call = rpc.watch_event(channel)(pb.WatchRequest(), timeout=60)
        assert rpc.WATCHING[0] in call.initial_metadata()
        stream.publish(reset())
        assert next(iter(call)).event.time_unix_nano == 1_700_000_000_123_456_789


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_both_address_families_are_served(stream: EventStream, connect: Connect, host: str) -> None:
    call = connect(stream.port, host).watch()
    stream.publish(reset())
    assert next(call).name == "TCPRESET_NOSOCK"


OF_WEB, OF_DB, LOSS_OF_WEB = reset(WEB, "of-web"), reset(DB, "of-db"), loss(WEB, "loss-of-web")


@pytest.mark.parametrize(
    ("name", "meta", "expected"),
    [
        ("", {}, ["of-web", "of-db", "loss-of-web"]),
        ("TCPRESET_NOSOCK", {}, ["of-web", "of-db"]),
        ("TCP_SEND_RST_NOSock", {}, ["of-web", "of-db"]),
        ("tcp_send_rst_nosock", {}, ["of-web", "of-db"]),
        ("tcpreset", {}, ["of-web", "of-db"]),
        ("packetloss", {}, ["loss-of-web"]),
        ("TCPRESET_NO", {}, []),
        ("", {"pod": "db-0"}, ["of-db"]),
        ("", {"pod": "db"}, []),
        ("", {"namespace": "shop"}, ["of-web", "loss-of-web"]),
        ("", {"netns": "ns4026532222"}, ["of-db"]),
        ("", {"node": NODE}, ["of-web", "of-db", "loss-of-web"]),
        ("", {"node": "another"}, []),
        ("tcpreset", {"pod": "web-0", "namespace": "shop"}, ["of-web"]),
        ("tcpreset", {"pod": "web-0", "namespace": "data"}, []),
    ],
)
def test_filters_filter(
    stream: EventStream, client: OriginalClient, name: str, meta: dict[str, str], expected: list[str]
) -> None:
    call = client.watch(name, **meta)
    for event in (OF_WEB, OF_DB, LOSS_OF_WEB):
        stream.publish(event)
    stream.close()
    assert [reply.event.value for reply in call] == expected


def test_every_one_of_many_subscribers_gets_every_event_in_order(stream: EventStream, connect: Connect) -> None:
    calls = [connect(stream.port).watch() for _ in range(16)]
    expected = [f"n={i}" for i in range(200)]
    for body in expected:
        stream.publish(reset(body=body))
    for call in calls:
        assert [next(call).event.value for _ in expected] == expected


def test_slow_subscriber_loses_its_oldest_events_is_told_how_many_and_delays_nobody(connect: Connect) -> None:
    with EventStream(NODE, 0, queue_capacity=8) as stream:
        slow, fast = connect(stream.port).watch(), connect(stream.port).watch()
        seen: queue.Queue[Any] = queue.Queue()
        reader = threading.Thread(target=_pass_on, args=(fast, seen))
        reader.start()
        published = 0
        while stream.events_lost < 20:
            stream.publish(reset(body=f"n={published} " + "x" * 8192))
            # The fast one has it while the slow one still reads nothing.
            assert seen.get(timeout=10).value.startswith(f"n={published} ")
            published += 1
        lost = stream.events_lost
        events = _read_until(slow, f"n={published - 1} ")
        fast.cancel()
        reader.join(timeout=10)
        assert seen.empty()

    notices = [event for event in events if event.name == "EVENTS_LOST"]
    numbers = [int(event.value.split()[0].removeprefix("n=")) for event in events if event.name != "EVENTS_LOST"]
    assert sum(int(event.value.removeprefix("count=")) for event in notices) == lost
    assert all(event.meta.node == NODE for event in notices)
    assert numbers == sorted(numbers)
    assert len(numbers) + lost == published


def _pass_on(call: Iterator[Any], to: queue.Queue[Any]) -> None:
    with contextlib.suppress(grpc.RpcError):  # cancelled
        for reply in call:
            to.put(reply.event)


def test_notice_of_loss_stands_where_the_events_are_missing(connect: Connect) -> None:
    with EventStream(NODE, 0, queue_capacity=8) as stream:
        call = connect(stream.port).watch()
        published = 0
        while stream.events_lost < 20:
            stream.publish(reset(body=f"n={published} " + "x" * 8192))
            published += 1
        events = _read_until(call, f"n={published - 1} ")
    expected = 0
    for event in events:
        if event.name == "EVENTS_LOST":
            expected += int(event.value.removeprefix("count="))
        else:
            assert event.value.startswith(f"n={expected} ")
            expected += 1
    assert expected == published


def _read_until(call: Iterator[Any], last: str) -> list[Any]:
    """Events up to the one whose body begins so; the newest is never lost."""
    events = [next(call).event]
    while not events[-1].value.startswith(last):
        events.append(next(call).event)
    return events


def test_one_subscriber_too_many_is_refused_until_another_leaves(connect: Connect) -> None:
    with EventStream(NODE, 0, max_subscribers=2) as stream:
        first = connect(stream.port).watch()
        second = connect(stream.port).watch()
        with pytest.raises(grpc.RpcError) as refusal:
            next(connect(stream.port).watch())
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.value.details() == (
            "2 clients watch the events of node-7 already, which is the limit; stop one of them and try again"
        )
        first.cancel()
        wait_until(lambda: stream.subscribers == 1)
        third = connect(stream.port).watch()
        stream.publish(reset())
        assert next(second).name == next(third).name == "TCPRESET_NOSOCK"


def test_queries_are_answered_while_every_place_is_taken(connect: Connect) -> None:
    with EventStream(NODE, 0, max_subscribers=1) as stream:
        client = connect(stream.port)
        call = client.watch()
        stream.publish_snapshot(SNAPSHOT)
        assert len(client.query("tcp")[1]) == 2
        stream.publish(reset())
        assert next(call).name == "TCPRESET_NOSOCK"


def test_subscriber_that_leaves_leaves_nothing_behind(stream: EventStream, connect: Connect) -> None:
    for _ in range(40):
        client = connect(stream.port)
        client.watch()
        client.close()
    wait_until(lambda: stream.subscribers == 0)


@pytest.mark.parametrize("slow", [False, True])
def test_close_ends_every_stream_within_half_a_second(connect: Connect, slow: bool) -> None:
    stream = EventStream(NODE, 0, queue_capacity=4)
    calls = [connect(stream.port).watch() for _ in range(16)]
    while slow and stream.events_lost < 100:
        stream.publish(reset(body="x" * 8192))
    begin = time.monotonic()
    stream.close()
    assert time.monotonic() - begin < 0.5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("event-stream")]
    for call in calls:
        assert _ended(call)


def _ended(call: Iterator[Any]) -> bool:
    try:
        for _ in call:
            pass
    except grpc.RpcError as error:
        return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    return True


def test_close_delivers_what_still_waits(stream: EventStream, client: OriginalClient) -> None:
    call = client.watch()
    for i in range(100):
        stream.publish(reset(body=f"n={i}"))
    stream.close()
    assert [reply.event.value for reply in call] == [f"n={i}" for i in range(100)]


def test_close_may_be_called_again(stream: EventStream) -> None:
    stream.close()
    stream.close()


def test_publishing_from_many_threads_loses_nothing(stream: EventStream, client: OriginalClient) -> None:
    call = client.watch()

    def publish(k: int) -> None:
        for i in range(100):
            stream.publish(reset(body=f"{k}/{i}"))

    threads = [threading.Thread(target=publish, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    received = [next(call).event.value for _ in range(800)]
    for thread in threads:
        thread.join()
    assert sorted(received) == sorted(f"{k}/{i}" for k in range(8) for i in range(100))
