"""The answer to a scrape, made before it is asked for: no scrape waits until it is rendered, or compressed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeAlias

from otel_netagent.outputs.content_coding import Coding, gzipped

_REMEMBERED_S: Final = 150.0
"""Who scrapes at all does so at least every two minutes: Prometheus shows nothing that is older than five."""

_REMEMBERED_SCRAPES: Final = 4
_MARGIN: Final = 1.1
"""Neither scrapes nor collections keep time to the second: what is expected a little later is made too."""

Render: TypeAlias = Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class _Collection:
    """How it is rendered, and the answers that there are."""

    render: Render
    answers: dict[Coding, bytes] = field(default_factory=dict)


class Exposition:
    """Answers from the last collection that is ready, also while the next one is being made ready.

    What is expected to be asked for before the next collection is made when this one is published, so that a scrape
    each minute does not cost a rendering every five seconds. All else is made when somebody asks, once for all who do.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing has been collected. `clock` gives seconds that never go back."""
        self._clock = clock
        self._asked: dict[Coding, tuple[float, ...]] = {}  # when it was, the last times
        self._published = float("-inf")
        self._last: _Collection | None = None
        self._rendering = threading.Lock()

    def publish(self, render: Render) -> None:
        """Answer what `render` gives from now on. It is never called while another one is at work."""
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
            with self._rendering:  # of which there may be one for this coding
                if coding not in last.answers:
                    last.answers.update(_answers(last.render, {coding}))
        return last.answers[coding]


def _is_expected(asked: Sequence[float], now: float, until: float) -> bool:
    """Whether somebody may ask by then who asked at these times: of several scrapers, who comes first."""
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    return bool(pauses) and now - asked[-1] <= _REMEMBERED_S and asked[-1] + min(pauses) <= until


def _answers(render: Render, codings: Collection[Coding]) -> dict[Coding, bytes]:
    """The answers in these codings, of one rendering. If all that is wanted is compressed, the whole is nowhere."""
    parts, answers = render(), {}
    if Coding.IDENTITY in codings:
        answers[Coding.IDENTITY] = whole = b"".join(parts)
        parts = (whole,)
    if Coding.GZIP in codings:
        answers[Coding.GZIP] = gzipped(parts)
    return answers
