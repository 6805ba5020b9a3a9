"""The answer to a scrape: what is made ahead, for whom, and that nobody waits for it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from otel_netagent.outputs.content_coding import Coding
from otel_netagent.outputs.http.exposition import Exposition


class _Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class _Renderings:
    """Which expositions were rendered, in turn."""

    def __init__(self) -> None:
        self.done: list[bytes] = []

    def of(self, text: bytes) -> Callable[[], Iterator[bytes]]:
        def render() -> Iterator[bytes]:
            self.done.append(text)
            yield text[:1]
            yield text[1:]

        return render


@pytest.fixture
def renderings() -> _Renderings:
    return _Renderings()


def test_nothing_is_rendered_that_nobody_asks_for_and_the_rest_once(renderings: _Renderings) -> None:
    exposition = Exposition()
    for text in (b"never asked for", b"first"):
        exposition.publish(renderings.of(text))
    assert [exposition.answer(Coding.IDENTITY) for _ in range(3)] == [b"first"] * 3
    assert renderings.done == [b"first"]


def test_what_was_asked_for_twice_is_there_before_it_is_asked_for_again(renderings: _Renderings) -> None:
    clock = _Clock()
    exposition = Exposition(clock)
    for clock.seconds, text in ((0.0, b"first"), (120.0, b"second"), (240.0, b"third")):  # as long as it may be
        exposition.publish(renderings.of(text))
        if text != b"third":
            exposition.answer(Coding.GZIP)
    assert renderings.done == [b"first", b"second", b"third"]
    assert gzip.decompress(exposition.answer(Coding.GZIP) or b"") == b"third"
    assert renderings.done == [b"first", b"second", b"third"]


def test_scraper_that_comes_no_more_is_forgotten(renderings: _Renderings) -> None:
    clock = _Clock()
    exposition = Exposition(clock)
    exposition.publish(renderings.of(b"first"))
    for clock.seconds in (0.0, 15.0):
        exposition.answer(Coding.GZIP)
    clock.seconds = 200.0
    exposition.publish(renderings.of(b"second"))
    assert renderings.done == [b"first"]
    assert gzip.decompress(exposition.answer(Coding.GZIP) or b"") == b"second"


@pytest.mark.parametrize(
    ("scrapes", "rendered"),
    [
        (range(1, 600, 15), 1 / 3),
        (range(1, 600, 60), 1 / 12),
        (sorted([*range(1, 600, 30), *range(13, 600, 30)]), 2 / 3),  # two who do not know of each other
        (range(1, 600), 1),
    ],
)
def test_nothing_is_rendered_much_ahead_and_no_scraper_waits(
    scrapes: Sequence[int], rendered: float, renderings: _Renderings
) -> None:
    clock = _Clock()
    exposition = Exposition(clock)
    published = range(0, 600, 5)
    waited = 0
    for second in range(600):
        clock.seconds = second
        if second in published:
            exposition.publish(renderings.of(b"text"))
        if second in scrapes:
            before = len(renderings.done)
            exposition.answer(Coding.GZIP)
            waited += len(renderings.done) - before
    assert waited <= 3, "the first ones, of whom nobody could know"
    assert len(renderings.done) <= rendered * len(published) + waited


def test_one_rendering_serves_all_codings(renderings: _Renderings) -> None:
    exposition = Exposition()
    exposition.publish(renderings.of(b"first"))
    for coding in [*Coding, *Coding]:
        exposition.answer(coding)
    exposition.publish(renderings.of(b"second"))
    assert renderings.done == [b"first", b"first", b"second"]
    assert gzip.decompress(exposition.answer(Coding.GZIP) or b"") == exposition.answer(Coding.IDENTITY) == b"second"


def test_while_the_next_one_is_rendered_the_last_one_is_answered() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        begun.set()
        assert go_on.wait(10)
        yield b"second"

    exposition = Exposition()
    exposition.publish(lambda: [b"first"])
    for _ in range(2):
        exposition.answer(Coding.IDENTITY)
    publishing = threading.Thread(target=exposition.publish, args=(slow,))
    publishing.start()
    try:
        assert begun.wait(10)
        assert exposition.answer(Coding.IDENTITY) == b"first"
    finally:
        go_on.set()
        publishing.join()
    assert exposition.answer(Coding.IDENTITY) == b"second"
