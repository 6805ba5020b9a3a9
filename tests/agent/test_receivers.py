"""Who gets the numbers and the events, by what a configuration says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast
from urllib.request import urlopen

import pytest

from otel_netagent.agent.receivers import LocalReceivers, Receivers, receivers
from otel_netagent.agent.servers import Listening
from otel_netagent.config.schema import Config, EventConfig, MetricConfig
from otel_netagent.outputs.http.server import HttpServer
from otel_netagent.outputs.sending.sender import Sender
from otel_netagent.outputs.stream.service import EventStream
from tests.outputs.samples import NODE, make_snapshot

KEEP, WRITE, METRICS, EVENTS = (cast(Any, object()) for _ in range(4))
SENDERS = [Sender(cast(Any, None), snapshot=METRICS), Sender(cast(Any, None), event=EVENTS)]
LOCAL = LocalReceivers(NODE, KEEP, WRITE, lambda: b"# of the agent itself\n")


@pytest.fixture
def listening() -> Iterator[Listening]:
    with closing(HttpServer(0, lambda: "{}")) as http, closing(EventStream(NODE, 0)) as stream:
        yield Listening(http, stream)


def test_all_get_everything_by_the_defaults(listening: Listening) -> None:
    found = receivers(Config(), SENDERS, listening, LOCAL)
    assert listening.stream is not None
    assert found.snapshots[:-1] == [KEEP, METRICS, listening.stream.publish_snapshot]
    assert found.events == [EVENTS, listening.stream.publish, WRITE]


def test_metrics_that_are_switched_off_are_not_sent(listening: Listening) -> None:
    assert METRICS not in receivers(Config(metric=MetricConfig(enable=False)), SENDERS, listening, LOCAL).snapshots


@pytest.mark.parametrize("event", [EventConfig(infotolog=False), EventConfig(enable=False)])
def test_lines_are_written_of_events_that_are_on_and_wanted_as_lines(event: EventConfig, listening: Listening) -> None:
    assert WRITE not in receivers(Config(event=event), SENDERS, listening, LOCAL).events


def test_without_servers_the_others_get_theirs() -> None:
    assert receivers(Config(), SENDERS, Listening(None, None), LOCAL) == Receivers([KEEP, METRICS], [EVENTS, WRITE])


@pytest.mark.parametrize("timestamps", [True, False])
def test_the_page_has_the_numbers_as_the_configuration_wants_them_and_then_the_agent(
    timestamps: bool, listening: Listening
) -> None:
    config = Config(metric=MetricConfig(timestamps=timestamps))
    *_, show = receivers(config, [], listening, LOCAL).snapshots
    snapshot = make_snapshot()
    show(snapshot)
    assert listening.http is not None
    with urlopen(f"http://127.0.0.1:{listening.http.port}/metrics") as answer:
        *samples, own = answer.read().decode().splitlines()
    assert own == "# of the agent itself"
    assert samples[-1].endswith(str(snapshot.time_ns // 1_000_000)) is timestamps
