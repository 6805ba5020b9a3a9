"""What happens while a part of the far end is away is there when it is back: every event, once, at its own time."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from lab.counters import counters
from tests.agent.stage import Stage as Ground
from tests.agent.stage import await_known, named_pair
from tests.integration.conftest import STORES, running
from tests.integration.far_end import FarEnd
from tests.integration.log_queries import ARRIVAL_S, Selection, language_of
from tools.stack.services import HOST, Stack

pytestmark = pytest.mark.integration

_OUTAGE_S = 60.0
_AWAY_S = 30.0
_BETWEEN_S = 0.05
"""Pause between faults: of each kind, the kernel's side tells at most 100 in a second of one namespace."""

_PORTS = range(10_000, 30_000)
"""Of the clients. Each is used once, so that it tells which event is of which connection."""

_TYPES = ("netagent.tcpreset.nosock", "netagent.packetloss", "netagent.tcpreset.received.syn")
"""What each fault makes, at one end or the other."""

_ACCEPTED = "otelcol_receiver_accepted_log_records"

_EACH_STORE = pytest.mark.parametrize("stack", STORES, indirect=True)


@dataclass(frozen=True, slots=True)
class Refused:
    """A connection to a closed port: the client's port, and between which Unix times it was tried."""

    port: int
    began_ns: int
    ended_ns: int


@pytest.fixture
def far_end(stack: Stack, tmp_path: Path, _root: None) -> Iterator[FarEnd]:
    """One of this test's own, to be broken."""
    with running(stack, tmp_path) as far_end:
        yield far_end


@_EACH_STORE
def test_collector_killed_under_load(far_end: FarEnd) -> None:
    with named_pair() as stage:
        await_known(far_end.agent, stage)
        began_ns = time.time_ns()
        with _refused_all_the_time(stage) as made:
            far_end.await_events(_refusals(stage, _TYPES[0]), began_ns)
            far_end.collector.kill()
            _let_pass(_OUTAGE_S)
            far_end.collector.start()
            far_end.await_events(_refusals(stage, _TYPES[0]), time.time_ns())
        assert len(made) > _OUTAGE_S / _BETWEEN_S / 4, "too little load to show anything"
        assert counters(stage.namespaces[stage.server])["Tcp.OutRsts"] == len(made)
        _assert_all_arrived(far_end, stage, made)


@_EACH_STORE
def test_collector_ended_with_events_that_the_log_store_does_not_take(far_end: FarEnd) -> None:
    """What the collector has taken from the agent is on its disk and nowhere else, whichever way it ends."""
    with named_pair() as stage:
        await_known(far_end.agent, stage)
        far_end.log_store.stop()
        made = _refused_and_accepted(far_end, stage, _PORTS[:20])
        far_end.collector.kill()
        far_end.collector.start()
        made += _refused_and_accepted(far_end, stage, _PORTS[20:40])
        far_end.collector.stop()
        far_end.log_store.start()
        far_end.collector.start()
        _assert_all_arrived(far_end, stage, made)


def test_numbers_of_an_outage_of_prometheus_come_by_remote_write(far_end: FarEnd) -> None:
    """Those of each second, in their order: what the collector could not write, it has tried until it could."""
    series = 'inspector_pod_tcppassiveopens{pod="hostNetwork",job="otel-netagent"}'
    far_end.await_promql(series)
    far_end.prometheus.stop()
    _let_pass(_AWAY_S)
    back_at = time.time()
    far_end.prometheus.start()
    far_end.await_promql(f"count_over_time({series}[{_AWAY_S - 5:.0f}s] @ {back_at:.3f}) > {(_AWAY_S - 5) / 2}")
    assert _said_by_collector(far_end, "otelcol_exporter_send_failed_metric_points") == 0


def _assert_all_arrived(far_end: FarEnd, stage: Ground, made: list[Refused]) -> None:
    times = {each.port: each for each in made}
    source_port = language_of(far_end.stack.log_store).name("source.port")
    for name in _TYPES:
        entries = far_end.await_events(_refusals(stage, name), made[0].began_ns, at_least=len(made))
        ports = [int(entry.metadata[source_port]) for entry in entries]
        assert sorted(ports) == sorted(times), "one is missing, or came twice"
        for port, entry in zip(ports, entries, strict=True):
            refused = times[port]
            assert refused.began_ns < entry.time_ns < refused.ended_ns


@contextlib.contextmanager
def _refused_all_the_time(stage: Ground) -> Iterator[list[Refused]]:
    """Connections that are refused, one after the other, until the end of the block; the list is whole after it."""
    made: list[Refused] = []
    enough = threading.Event()

    def keep_on() -> None:
        ports = itertools.takewhile(lambda _: not enough.wait(_BETWEEN_S), _PORTS)
        made.extend(_refused(stage, port) for port in ports)

    thread = threading.Thread(target=keep_on)
    thread.start()
    try:
        yield made
    finally:
        enough.set()
        thread.join()


def _refused(stage: Ground, port: int) -> Refused:
    with stage.pair.client.namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.bind((stage.pair.client.ipv4, port))
        began_ns = time.time_ns()
        with contextlib.suppress(ConnectionRefusedError):
            caller.connect((stage.pair.server.ipv4, 9))
        return Refused(port, began_ns, time.time_ns())


def _refused_and_accepted(far_end: FarEnd, stage: Ground, ports: Iterable[int]) -> list[Refused]:
    """Connections that were refused, of which the collector has what there is to tell."""
    before = _said_by_collector(far_end, _ACCEPTED)
    made = [_refused(stage, port) for port in ports]
    far_end.eventually(lambda: _said_by_collector(far_end, _ACCEPTED) >= before + len(_TYPES) * len(made))
    return made


def _refusals(stage: Ground, name: str) -> Selection:
    connection = {"event_name": name, "network.transport": "tcp", "destination.port": "9"}
    return Selection({"pod": "|".join(sorted(stage.pods))}, connection)


def _said_by_collector(far_end: FarEnd, counter: str) -> int:
    """Sum of a counter of its own over all labels; 0 before its first use."""
    answer = requests.get(f"http://{HOST}:{far_end.stack.ports.collector_telemetry}/metrics", timeout=ARRIVAL_S)
    counts = [line for line in answer.text.splitlines() if line.startswith(counter)]
    return sum(int(float(line.rpartition(" ")[2])) for line in counts)


def _let_pass(seconds: float) -> None:
    """The length of the outage is what the test is about, so that here is a time to wait for."""
    threading.Event().wait(seconds)
