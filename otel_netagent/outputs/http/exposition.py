"""The answer to a scrape, made in advance: no scrape waits for rendering or compression."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeAlias

from otel_netagent.outputs.content_coding import Coding, gzipped

_REMEMBERED_S: Final = 150.0
"""Prometheus scrapes at least every two minutes: it shows no sample that is older than five."""

_REMEMBERED_SCRAPES: Final = 4
_MARGIN: Final = 1.1
"""Scrapes and collections are not punctual: an answer that is expected slightly later is made in advance too."""

Render: TypeAlias = Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class _Collection:
    """How a collection is rendered, and the answers made from it so far."""

    render: Render
    answers: dict[Coding, bytes] = field(default_factory=dict)


class Exposition:
    """Answers scrapes from the last published collection, also while the next one is being prepared.

    `publish` makes the answers that are expected to be scraped before the next collection, so that one scrape a minute
    does not cost a rendering every five seconds. Any other answer is made at its first scrape, and then kept.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with no collection. `clock` gives seconds that never go back."""
        self._clock = clock
        self._asked: dict[Coding, tuple[float, ...]] = {}  # times of the last scrapes
        self._published = float("-inf")
        self._last: _Collection | None = None
        self._rendering = threading.Lock()

    def publish(self, render: Render) -> None:
        """Answer scrapes with the output of `render` from now on. Two renderings never run at the same time."""
        now = self._clock()
        until = now + _MARGIN * (now - self._published)
        self._published = now
        with self._rendering:
            wanted = {coding for coding in Coding if _is_expected(self._asked.get(coding, ()), now, until)}
            self._last = _Collection(render, _answers(render, wanted) if wanted else {})

    def answer(self, coding: Coding) -> bytes | None:
        """The answer in this coding; None before anything is published."""
        last = self._last
        if last is None:
            return None
        self._asked[coding] = (*self._asked.get(coding, ())[1 - _REMEMBERED_SCRAPES :], self._clock())
        if coding not in last.answers:
            with self._rendering:  # another thread may have made the answer
                if coding not in last.answers:
                    last.answers.update(_answers(last.render, {coding}))
        return last.answers[coding]


def _is_expected(asked: Sequence[float], now: float, until: float) -> bool:
    """Whether a scrape may come before `until`, given the times of the last ones; with several scrapers, the first."""
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    return bool(pauses) and now - asked[-1] <= _REMEMBERED_S and asked[-1] + min(pauses) <= until


def _answers(render: Render, codings: Collection[Coding]) -> dict[Coding, bytes]:
    """The answers in these codings, from one rendering. If only gzip is needed, the plain text is never held whole."""
    parts, answers = render(), {}
    if Coding.IDENTITY in codings:
        answers[Coding.IDENTITY] = whole = b"".join(parts)
        parts = (whole,)
    if Coding.GZIP in codings:
        answers[Coding.GZIP] = gzipped(parts)
    return answers
