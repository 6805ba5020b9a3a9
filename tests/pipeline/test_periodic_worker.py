"""A thread that takes turns: at its pace, not while it is paused, and never to be waited for in vain."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from lab.waiting import eventually
from otel_netagent.pipeline import periodic_worker as turns_module
from otel_netagent.pipeline.periodic_worker import Turns
from tests.interleaving import Meeting


def test_nothing_is_done_before_it_goes() -> None:
    taken: list[int] = []
    turns = Turns("test", lambda: taken.append(1))
    turns.pause()
    turns.stop()
    assert taken == []


def test_it_goes_pauses_and_goes_on_in_one_thread() -> None:
    taken: list[str] = []
    turns = Turns("test", lambda: taken.append(threading.current_thread().name))
    try:
        turns.go()
        eventually(lambda: len(taken) > 10)
        turns.pause()
        so_far = len(taken)
        turns.go(3600)
        eventually(lambda: len(taken) > so_far)
        turns.pause()
        assert len(taken) == so_far + 1
    finally:
        turns.stop()
    assert set(taken) == {"test"}
    assert "test" not in {thread.name for thread in threading.enumerate()}


def test_a_pause_waits_for_a_turn_that_is_just_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = Meeting()
    taken: list[int] = []
    when_paused: list[int] = []
    with meeting.watching_locks():
        turns = Turns("test", lambda: taken.append(1))

    def slow_monotonic() -> float:
        if threading.current_thread().name == "test":
            meeting.hold()
        return time.monotonic()

    def pause() -> None:
        turns.pause()
        when_paused.append(len(taken))

    monkeypatch.setattr(turns_module, "time", SimpleNamespace(monotonic=slow_monotonic))
    try:
        meeting.of(turns.go, pause)
    finally:
        turns.stop()
    assert when_paused == [len(taken)]


def test_the_first_turn_may_be_later() -> None:
    taken: list[float] = []
    turns = Turns("test", lambda: taken.append(time.monotonic()))
    try:
        began = time.monotonic()
        turns.go(3600, first_s=0.1)
        (first,) = eventually(lambda: taken)
        assert first - began >= 0.1
    finally:
        turns.stop()


def test_a_pause_is_had_though_each_turn_takes_longer_than_the_interval() -> None:
    """Whoever wants a pause comes before the next turn, which is always overdue."""

    def take_long() -> None:
        threading.Event().wait(0.02)

    turns = Turns("test", take_long)
    try:
        turns.go(0.001)
        for _ in range(10):
            turns.pause()
            turns.go(0.001)
    finally:
        turns.stop()


def test_a_turn_may_suspend_itself() -> None:
    taken: list[int] = []

    def once() -> None:
        taken.append(1)
        turns.suspend()

    turns = Turns("test", once)
    try:
        turns.go()
        eventually(lambda: taken)
        turns.pause()
        assert taken == [1]
        turns.go()
        eventually(lambda: len(taken) == 2)
    finally:
        turns.stop()


def test_an_error_ends_the_thread_and_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)

    def fail() -> None:
        raise ZeroDivisionError

    turns = Turns("test", fail)
    turns.go()
    eventually(lambda: failures)
    turns.pause()
    turns.stop()
    assert failures[0].exc_type is ZeroDivisionError
