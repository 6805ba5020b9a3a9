"""Text of others in a line of ours: a process, a receiver or a file may put any character into it."""

from __future__ import annotations

from collections.abc import Callable


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def printable(text: str, replace: Callable[[str], str] = _escape) -> str:
    r"""The text with each unprintable character replaced, by default by its escape (`\n`, `\x1b`, `\udc80`).

    A line break must not forge a second line, nor an escape sequence reach the reader's terminal.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else replace(character) for character in text)
