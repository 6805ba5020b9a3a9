"""The words that `make lint` finds, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.words import ALLOWED, INSTEAD, Use, checked_files, uses_in

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "text",
    [
        "it tells more",
        "Told again",
        "untold: int",
        "tell_all = 1",
        "self._let_go(cause)",
        "the receiver does not take it",
        "on-demand",
        "sent by HTTP",
        "# two ways of\n# attaching it",
        "class _Known:",
    ],
)
def test_a_word_is_found_in_any_case_and_within_names(text: str) -> None:
    assert list(uses_in("a.py", text))


@pytest.mark.parametrize("text", ["satellite", "a storyteller", "foretold", "known", "dearth", "the hop limit"])
def test_parts_of_longer_words_and_other_forms_are_left_alone(text: str) -> None:
    assert not list(uses_in("a.py", text))


def test_a_use_says_where_it_is_and_what_to_write() -> None:
    (use,) = uses_in("a/b.md", "first\nsecond, harmless\n")
    assert use == Use("a/b.md", 2, "harmless", "expected")
    assert str(use) == "a/b.md:2: 'harmless': write expected"


@pytest.mark.parametrize(("file", "word"), [each for each in ALLOWED if each[1]])
def test_what_is_allowed_is_still_there_and_only_in_its_file(file: str, word: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert word in text.lower()
    assert not [use for use in uses_in(file, text) if use.found.lower() == word]
    assert [use for use in uses_in("another.py", text) if use.found.lower() == word]


def test_what_people_read_is_checked() -> None:
    files = set(checked_files(ROOT))
    assert {"README.md", "bpf/packetloss.bpf.c", "docs/events.md", "otel_netagent/outputs/sending/outbox.py"} <= files


def test_every_word_has_another() -> None:
    assert all(INSTEAD.values())
