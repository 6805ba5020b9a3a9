"""One snapshot an interval, of all probes; what fails leaves a gap where it failed and nowhere else."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from lab.waiting import eventually
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.identity.registry import Registry
from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.namespaces import ProcfsWalk
from otel_netagent.kernel.proc.files import MalformedTable
from otel_netagent.pipeline import collector as collector_module
from otel_netagent.pipeline import periodic_worker as turns_module
from otel_netagent.pipeline.collector import Collector
from otel_netagent.probing.attach import Unavailable
from tests.pipeline.made_up import HERE, MadeUpProbe, MadeUpWalk


def collector_of(
    *probes: MadeUpProbe, walk: MadeUpWalk | None = None, outputs: list[Callable[[Snapshot], None]] | None = None
) -> Collector:
    return Collector(
        walk or MadeUpWalk(), Registry(), {probe.name: probe for probe in probes}, outputs or [], interval_s=1
    )


def probes_in(snapshot: Snapshot) -> list[str]:
    return [table.probe for table in snapshot.tables]


# --- One collection


def test_a_snapshot_holds_the_tables_of_all_probes_at_one_time() -> None:
    before = time.time_ns()
    snapshot = collector_of(MadeUpProbe("a"), MadeUpProbe("b")).collect()
    assert before <= snapshot.time_ns <= time.time_ns()
    assert probes_in(snapshot) == ["a", "b"]
    assert [table.rows for table in snapshot.tables] == [{(HERE, ()): (1,)}] * 2
    assert snapshot.entities.keys() == {HERE}


def test_every_namespace_of_a_snapshot_has_its_entity() -> None:
    collector = Collector(ProcfsWalk(), Registry(), {"a": MadeUpProbe("a")}, [], interval_s=1)
    snapshot = collector.collect()
    assert {inode for inode, _ in snapshot.tables[0].rows} <= snapshot.entities.keys()
    assert snapshot.entities[HERE].netns == HERE


@pytest.mark.parametrize(
    "error",
    [BpfError("map x: EPERM"), MalformedTable("dev", 3, "no integer"), OSError("gone"), Unavailable("no file")],
    ids=repr,
)
def test_a_probe_that_fails_leaves_a_gap_in_its_own_tables(error: Exception) -> None:
    failing = MadeUpProbe("b", error=error)
    collector = collector_of(MadeUpProbe("a"), failing, MadeUpProbe("c"))
    assert probes_in(collector.collect()) == ["a", "c"]  # and of the failing one not even the table before the failure
    failing.error = None
    assert probes_in(collector.collect()) == ["a", "b", "c"]


def test_a_failure_is_said_once_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    failing = MadeUpProbe("b", error=BpfError("map x: EPERM"))
    collector = collector_of(failing)
    for failure in (BpfError("map x: EPERM"), BpfError("another"), None, BpfError("again")):
        failing.error = failure
        collector.collect()
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "b cannot be collected: map x: EPERM"),
        (logging.ERROR, "b cannot be collected: again"),
    ]


# --- The pace


@dataclass
class MadeUpTime:
    """Stands in for `time` and `threading`: nobody waits, and one thread does it all."""

    now: float = 0.0

    def monotonic(self) -> float:
        """The made-up clock."""
        return self.now

    def time_ns(self) -> int:
        """The same as Unix time."""
        return int(self.now * 1e9)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put it into the module that keeps the pace, and the one that says what time it is."""
        monkeypatch.setattr(collector_module, "time", self)
        monkeypatch.setattr(turns_module, "time", self)
        monkeypatch.setattr(turns_module, "threading", SimpleNamespace(Condition=self._condition, Thread=self._thread))

    def _condition(self) -> threading.Condition:
        clock = self

        class Condition(threading.Condition):
            """Its wait is over at once, and the time has come."""

            def wait(self, timeout: float | None = None) -> bool:
                assert timeout is not None
                clock.now += timeout
                return False

        return Condition()

    @staticmethod
    def _thread(target: Callable[[], None], **_: object) -> SimpleNamespace:
        return SimpleNamespace(start=target, ident=None)


def starts(durations: list[float], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When collections begin that take so long each; one is due each second."""
    clock = MadeUpTime()
    clock.install(monkeypatch)
    begun: list[float] = []

    def take_time() -> None:
        begun.append(round(clock.now, 6))
        clock.now += durations[len(begun) - 1]
        if len(begun) == len(durations):
            collector.stop()

    collector = collector_of(walk=MadeUpWalk(take_time))
    collector.start()
    return begun


@pytest.mark.parametrize(
    ("durations", "begun"),
    [
        ([0, 0, 0], [0, 1, 2]),
        ([0.25, 0.5, 0.25, 0], [0, 1, 2, 3]),  # steady, however long each takes
        ([3.5, 0, 0, 0], [0, 3.5, 4.5, 5.5]),  # those that it ran over are left out, not made up for
        ([0, 1.25, 0, 0], [0, 1, 2.25, 3.25]),
        ([1, 1, 1], [0, 1, 2]),
    ],
)
def test_collections_begin_at_a_steady_pace(
    durations: list[float], begun: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert starts(durations, monkeypatch) == begun


@contextlib.contextmanager
def at_work(collector: Collector) -> Iterator[None]:
    collector.start()
    try:
        yield
    finally:
        collector.stop()


def test_the_first_snapshot_goes_to_every_output_at_once() -> None:
    first: list[Snapshot] = []
    second: list[Snapshot] = []
    with at_work(collector_of(MadeUpProbe("a"), outputs=[first.append, second.append])):
        eventually(lambda: first and second)
    assert first == second
    assert len(first) == 1


def test_a_walk_that_fails_is_said_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = MadeUpTime()
    clock.install(monkeypatch)
    failures = [BpfError("first"), BpfError("second"), None, None, OSError("third"), None]

    def perhaps_fail() -> None:
        failure = failures.pop(0)
        if not failures:
            collector.stop()
        if failure:
            raise failure

    snapshots: list[Snapshot] = []
    collector = collector_of(MadeUpProbe("a"), walk=MadeUpWalk(perhaps_fail), outputs=[snapshots.append])
    collector.start()
    assert [snapshot.time_ns for snapshot in snapshots] == [2 * 10**9, 3 * 10**9, 5 * 10**9]
    assert caplog.messages == [
        "the walk over the namespaces cannot be collected: first",
        "the walk over the namespaces cannot be collected: third",
    ]


def test_after_stop_nothing_comes() -> None:
    snapshots: list[Snapshot] = []
    with at_work(collector_of(MadeUpProbe("a"), outputs=[snapshots.append])):
        eventually(lambda: snapshots)
    assert "collector" not in {thread.name for thread in threading.enumerate()}


def test_a_paused_collector_goes_on_at_once_with_what_it_was_given() -> None:
    first: list[Snapshot] = []
    second: list[Snapshot] = []
    collector = Collector(MadeUpWalk(), Registry(), {"a": MadeUpProbe("a")}, [first.append], interval_s=3600)
    with at_work(collector):
        eventually(lambda: first)
        collector.pause()
        collector.probes, collector.outputs, collector.interval_s = {"b": MadeUpProbe("b")}, [second.append], 0.01
        collector.start()
        eventually(lambda: len(second) > 2)
    assert [probes_in(snapshot) for snapshot in first] == [["a"]]
    assert {probe for snapshot in second for probe in probes_in(snapshot)} == {"b"}


def test_a_probe_that_was_away_says_its_failure_anew(caplog: pytest.LogCaptureFixture) -> None:
    failing = MadeUpProbe("b", error=BpfError("map x: EPERM"))
    collected: list[Snapshot] = []
    collector = Collector(MadeUpWalk(), Registry(), {}, [collected.append], interval_s=3600)
    with at_work(collector):
        for probes in ({"b": failing}, {}, {"b": failing}):
            collector.pause()
            collected.clear()
            collector.probes = probes
            collector.start()
            eventually(lambda: collected)
    assert [record.message for record in caplog.records] == ["b cannot be collected: map x: EPERM"] * 2


def test_a_pause_waits_for_the_collection_that_is_under_way() -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def take_time() -> None:
        begun.set()
        goes_on.wait()

    snapshots: list[Snapshot] = []
    collector = collector_of(walk=MadeUpWalk(take_time), outputs=[snapshots.append])
    with at_work(collector):
        begun.wait()
        pausing = threading.Thread(target=collector.pause)
        pausing.start()
        assert pausing.is_alive()
        goes_on.set()
        pausing.join()
        assert len(snapshots) == 1
