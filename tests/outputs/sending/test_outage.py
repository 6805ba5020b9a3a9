"""Outages that are outlasted on disk: by the agent that sees them, and by the next one."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from lab.waiting import eventually
from otel_netagent.outputs.sending import Cause, Delivery, Limits, SpoolPlace, close_all
from tests.outputs.otlp.receivers import grpc_receiver, hang
from tests.outputs.otlp.sending import dead_port, grpc_destination
from tests.outputs.sending.deliveries import IMPATIENT, NOTHING, log_delivery, numbers_received, observed
from tests.outputs.sending.numbers import Moody, Numbers, Steady, pod_of


def test_outage_is_outlasted_on_disk_and_in_order(tmp_path: Path) -> None:
    transport = Moody()
    limits = Limits(capacity=10_000, batch=8, memory_bytes=200)
    spool = SpoolPlace(tmp_path, 1 << 20)
    delivery = Delivery("numbers", Numbers(), transport, limits, backoff=IMPATIENT, spool=spool)
    for number in range(5_000):
        delivery.put(number)
    eventually(lambda: delivery.statistics.queued == 0 and delivery.statistics.spool_bytes > 5_000)
    close_all([delivery])
    first = delivery.statistics
    assert (first.delivered, first.dropped) == (0, NOTHING)

    patient = Steady()
    delivery = Delivery("numbers", Numbers(), patient, limits, backoff=IMPATIENT, spool=spool)
    delivery.put(5_000)
    eventually(lambda: delivery.statistics.delivered == 5_001)
    close_all([delivery])
    assert patient.accepted == list(range(5_001))
    assert delivery.statistics.spool_bytes == 0
    assert list(tmp_path.glob("*.spool")) == []


def test_while_all_is_well_nothing_is_written(tmp_path: Path) -> None:
    limits = Limits(capacity=10_000, batch=8)
    delivery = Delivery("numbers", Numbers(), Steady(), limits, spool=SpoolPlace(tmp_path, 1 << 20))
    with os.scandir(tmp_path) as before:
        names = {entry.name for entry in before}
    changed = tmp_path.stat().st_mtime_ns
    for number in range(1_000):
        delivery.put(number)
    eventually(lambda: delivery.statistics.delivered == 1_000)
    close_all([delivery])
    assert (names, tmp_path.stat().st_mtime_ns) == ({"lock"}, changed)


def test_full_spool_lets_the_oldest_go_by_pod(tmp_path: Path) -> None:
    limits = Limits(capacity=10_000, batch=1)
    spool = SpoolPlace(tmp_path, 2_000)
    away = Delivery("numbers", Numbers(), Moody(), limits, backoff=IMPATIENT, spool=spool)
    for number in range(1_000):
        away.put(number)
    eventually(lambda: away.statistics.queued == 0)
    close_all([away])
    lost = away.statistics.dropped[Cause.SPOOL_FULL]

    patient = Steady()
    delivery = Delivery("numbers", Numbers(), patient, limits, spool=spool)
    eventually(lambda: delivery.statistics.spool_bytes == 0)
    close_all([delivery])
    # The one whose fate was open when it had to make room is the newest of those that were kept.
    assert len(patient.accepted) == 1_000 - lost > 50
    assert sorted(patient.accepted)[1:] == list(range(lost + 1, 1_000))
    expected = Counter(map(pod_of, set(range(1_000)) - set(patient.accepted)))
    assert {pod: away.statistics.dropped_by_pod[Cause.SPOOL_FULL, pod] for pod in expected} == expected


def test_spool_that_cannot_be_written_leaves_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(capacity=10_000, batch=1)
    delivery = Delivery(
        "numbers",
        Numbers(),
        transport := Moody(),
        limits,
        backoff=IMPATIENT,
        spool=SpoolPlace(tmp_path / "spool", 1 << 20),
    )
    shutil.rmtree(tmp_path / "spool")
    for number in range(20):
        delivery.put(number)
    eventually(lambda: "cannot write the spool" in caplog.text)
    transport.present.set()
    eventually(lambda: delivery.statistics.delivered == 20)
    close_all([delivery])
    assert transport.accepted == list(range(20))
    assert caplog.text.count("cannot write the spool") == 1


def test_hanging_receiver_does_not_keep_the_rest_from_the_disk(tmp_path: Path) -> None:
    """What is killed while a receiver hangs loses at most a second, not a timeout."""
    with grpc_receiver(hang) as receiver:
        limits = Limits(capacity=100, batch=1)
        delivery = log_delivery(grpc_destination(receiver.port), limits, tmp_path)
        delivery.put(observed(0))
        eventually(lambda: receiver.received)

        def spooled() -> int:
            delivery.put(observed(1))
            return delivery.statistics.spool_bytes

        eventually(spooled)
        receiver.hold.set()
        eventually(lambda: delivery.statistics.spool_bytes == delivery.statistics.queued == 0)
        close_all([delivery])
    assert delivery.statistics.dropped == NOTHING
    assert numbers_received(receiver)[0] == [0]


SPOOL_AND_WAIT = """
import sys, time
from pathlib import Path
from otel_netagent.outputs.sending import Limits
from tests.outputs.sending.deliveries import log_delivery, observed
from tests.outputs.otlp.sending import grpc_destination
delivery = log_delivery(grpc_destination(int(sys.argv[1])), Limits(10_000, 16), Path(sys.argv[2]))
for number in range(1_000):
    delivery.put(observed(number))
while delivery.statistics.queued:
    time.sleep(0.01)
print(delivery.statistics.spool_bytes, flush=True)
time.sleep(60)
"""


def test_what_was_spooled_outlives_a_kill(tmp_path: Path) -> None:
    with dead_port() as port:
        command = [sys.executable, "-c", SPOOL_AND_WAIT, str(port), str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
            assert agent.stdout is not None
            assert int(agent.stdout.readline()) > 0
            agent.kill()
    with grpc_receiver() as receiver:
        delivery = log_delivery(grpc_destination(receiver.port), Limits(capacity=100), tmp_path)
        eventually(lambda: delivery.statistics.delivered == 1_000)
        close_all([delivery])
    assert list(itertools.chain.from_iterable(numbers_received(receiver))) == list(range(1_000))
