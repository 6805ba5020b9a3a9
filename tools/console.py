"""What a page shows of a terminal: the commands of its `console` blocks, and the lines that they print.

    ```console
    $ command
    > its second line
    what it prints
    ```

A block of `text` shows lines that the agent writes in its own terminal. In lines that are printed, `...` stands for
any text, and numbers for numbers: pages are compared with what is printed by this shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_BLOCK: Final = re.compile(r"^```(console|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_WILDS: Final = {r"\.\.\.": ".*", r"\d[\w.:+-]*": r"\d[\w.:+-]*", " +": " +"}
"""Parts of a line that a page shows, and what a printed line may have instead."""

_WILD: Final = re.compile(f"({'|'.join(_WILDS)})")


@dataclass(frozen=True, slots=True)
class Step:
    """A command, none where the agent writes of itself, and the lines that the page shows of what is printed."""

    command: str | None
    shown: tuple[str, ...]


def steps(page: str) -> Iterator[Step]:
    """All steps of a page, in their order."""
    for kind, content in _BLOCK.findall(page):
        lines = content.splitlines()
        if kind == "text":
            yield Step(None, tuple(lines))
        else:
            yield from _of_console(lines)


def missing(shown: Iterable[str], printed: Sequence[str]) -> str | None:
    """The first line of those that a page shows that is not printed in its shape, in this order; None if all are."""
    rest = iter(printed)
    for line in shown:
        shape = _shape(line)
        if not any(shape.fullmatch(each.rstrip()) for each in rest):
            return line
    return None


def _of_console(lines: Iterable[str]) -> Iterator[Step]:
    command: str | None = None
    shown: list[str] = []
    for line in lines:
        if line.startswith("$ "):
            if command is not None:
                yield Step(command, tuple(shown))
            command, shown = line[2:], []
        elif line.startswith("> ") and not shown:
            command = f"{command}\n{line[2:]}"
        else:
            shown.append(line)
    if command is not None:
        yield Step(command, tuple(shown))


def _shape(line: str) -> re.Pattern[str]:
    """What a printed line must match to be this line of the page."""
    parts = _WILD.split(line.rstrip())
    return re.compile("".join(_meaning(part) for part in parts))


def _meaning(part: str) -> str:
    return next((meant for wild, meant in _WILDS.items() if re.fullmatch(wild, part)), re.escape(part))
