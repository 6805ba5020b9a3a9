"""Draws docs/session.svg, the terminals of README, from a run that it makes: `make picture`, as root."""

from __future__ import annotations

import html
import io
import re
import time
from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.text import Text

from tools.console import Step, missing, steps
from tools.session import ROOT, STARTS_THE_AGENT, agent_running

PICTURE: Final = ROOT / "docs" / "session.svg"
_WIDTH: Final = 150
_FONT_FROM_ELSEWHERE: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_FINDINGS: Final = re.compile(r"type=\S+ pod=\S+|reason:\w+|state:\w+|(?<=} )\d+")


def faults(page: str) -> list[Step]:
    """The steps of the page that make faults and show what comes of them."""
    [section] = re.findall(r"^## Make a fault.*?(?=^## )", page, re.MULTILINE | re.DOTALL)
    return list(steps(section))


def text_of(picture: str) -> list[str]:
    """The lines of text that a picture shows."""
    lines: dict[str, str] = {}
    for y, content in re.findall(r'<text [^>]*?y="([\d.]+)"[^>]*>(.*?)</text>', picture):
        lines[y] = lines.get(y, "") + html.unescape(content).replace("\xa0", " ")
    return [line.rstrip() for line in lines.values()]


def main() -> None:
    """Play the steps and draw what is printed."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    page = (ROOT / "README.md").read_text("utf-8")
    with agent_running({"NODE_NAME": "worker-1"}) as session:
        [start] = [step for step in steps(page) if step.command == STARTS_THE_AGENT]
        session.play(start)
        for step in faults(page):
            for line in _drawn(step, session.play(step)):
                console.print(line, overflow="ellipsis", no_wrap=True)
    title = f"otel-netagent, {time.strftime('%-d %B %Y')}"
    drawn = console.export_svg(title=title, unique_id="session")
    PICTURE.write_text(_FONT_FROM_ELSEWHERE.sub("", drawn), encoding="utf-8")


def _drawn(step: Step, printed: list[str]) -> Iterator[Text]:
    """The command, and those of the printed lines that the page shows."""
    if step.command:
        first, *others = step.command.splitlines()
        yield from (Text(line, "bold") for line in (f"$ {first}", *(f"> {line}" for line in others)))
    for shown in step.shown:
        line = shown if shown == "..." else next(each for each in printed if missing([shown], [each]) is None)
        drawn = Text(line)
        drawn.highlight_regex(_FINDINGS, "bold yellow")
        yield drawn


if __name__ == "__main__":
    main()
