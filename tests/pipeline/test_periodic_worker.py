"""A periodic worker: at its pace, not while it is paused, and never to be waited for in vain."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from lab.waiting import eventually
from otel_netagent.pipeline import periodic_worker as worker_module
from otel_netagent.pipeline.periodic_worker import PeriodicWorker
from tests.interleaving import Meeting


def test_nothing_is_done_before_it_goes() -> None:
    taken: list[int] = []
    worker = PeriodicWorker("test", lambda: taken.append(1))
    worker.pause()
    worker.stop()
    assert taken == []


def test_it_goes_pauses_and_goes_on_in_one_thread() -> None:
    taken: list[str] = []
    worker = PeriodicWorker("test", lambda: taken.append(threading.current_thread().name))
    try:
        worker.go()
        eventually(lambda: len(taken) > 10)
        worker.pause()
        so_far = len(taken)
        worker.go(3600)
        eventually(lambda: len(taken) > so_far)
        worker.pause()
        assert len(taken) == so_far + 1
    finally:
        worker.stop()
    assert set(taken) == {"test"}
    assert "test" not in {thread.name for thread in threading.enumerate()}


def test_a_pause_waits_for_a_call_that_is_just_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = Meeting()
    taken: list[int] = []
    when_paused: list[int] = []
    with meeting.watching_locks():
        worker = PeriodicWorker("test", lambda: taken.append(1))

    def slow_monotonic() -> float:
        if threading.current_thread().name == "test":
            meeting.hold()
        return time.monotonic()

    def pause() -> None:
        worker.pause()
        when_paused.append(len(taken))

    monkeypatch.setattr(worker_module, "time", SimpleNamespace(monotonic=slow_monotonic))
    try:
        meeting.of(worker.go, pause)
    finally:
        worker.stop()
    assert when_paused == [len(taken)]


def test_the_first_call_may_be_later() -> None:
    taken: list[float] = []
    worker = PeriodicWorker("test", lambda: taken.append(time.monotonic()))
    try:
        began = time.monotonic()
        worker.go(3600, first_s=0.1)
        (first,) = eventually(lambda: taken)
        assert first - began >= 0.1
    finally:
        worker.stop()


def test_a_pause_is_had_though_each_call_takes_longer_than_the_interval() -> None:
    """Whoever wants a pause comes before the next call, which is always overdue."""

    def take_long() -> None:
        threading.Event().wait(0.02)

    worker = PeriodicWorker("test", take_long)
    try:
        worker.go(0.001)
        for _ in range(10):
            worker.pause()
            worker.go(0.001)
    finally:
        worker.stop()


def test_the_function_may_suspend_its_worker() -> None:
    taken: list[int] = []

    def once() -> None:
        taken.append(1)
        worker.suspend()

    worker = PeriodicWorker("test", once)
    try:
        worker.go()
        eventually(lambda: taken)
        worker.pause()
        assert taken == [1]
        worker.go()
        eventually(lambda: len(taken) == 2)
    finally:
        worker.stop()


def test_an_error_ends_the_thread_and_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)

    def fail() -> None:
        raise ZeroDivisionError

    worker = PeriodicWorker("test", fail)
    worker.go()
    eventually(lambda: failures)
    worker.pause()
    worker.stop()
    assert failures[0].exc_type is ZeroDivisionError
