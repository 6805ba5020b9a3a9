"""What the agent takes as a whole while nothing happens: CPU time by thread, as part of a core, and memory.

    .venv/bin/python -m bench.agent --namespaces 110

Everything runs but OTLP, with a collection every 5 s. It is measured from when the agent has stopped looking again
whose the new namespaces are, which it does for a minute. Elsewhere on the machine nothing should happen: drops and
resets of any namespace are events, and cost.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from bench.pods import pods
from otel_netagent.identity.registry import SETTLING_S
from tests.agent.running import Agent

_MEMORY: Final = re.compile(r"^(VmRSS|RssAnon|RssFile):\s+(\d+) kB$", re.MULTILINE)


@click.command()
@click.option("--namespaces", default=110, show_default=True, help="Network namespaces to make.")
@click.option("--seconds", default=120, show_default=True, help="For how long it is measured.")
def main(namespaces: int, seconds: int) -> None:
    """Print what the agent takes."""
    with (
        pods(namespaces),
        tempfile.TemporaryDirectory() as directory,
        Agent(Path(directory), metric={"interval": 5}) as agent,
    ):
        agent.next_collection()
        time.sleep(SETTLING_S + 10)
        before = _cpu_ms(agent.pid)
        time.sleep(seconds)
        spent = {thread: ms - before.get(thread, 0.0) for thread, ms in _cpu_ms(agent.pid).items()}
        status = Path(f"/proc/{agent.pid}/status").read_text(encoding="ascii")
    _print(spent, seconds, f"The agent at rest, {namespaces} namespaces, {seconds} s")
    Console().print(", ".join(f"{name} {int(kilobytes) / 1000:.0f} MB" for name, kilobytes in _MEMORY.findall(status)))


def _cpu_ms(pid: int) -> dict[tuple[int, str], float]:
    """CPU time of each thread so far, by its id and name (the first number of schedstat, in nanoseconds)."""
    return {
        (int(task.name), (task / "comm").read_text(errors="replace").strip()): int(
            (task / "schedstat").read_text(encoding="ascii").split()[0]
        )
        / 1e6
        for task in Path(f"/proc/{pid}/task").iterdir()
    }


def _print(spent: Mapping[tuple[int, str], float], seconds: int, title: str) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("thread")
    for column in ("CPU ms", "% of a core"):
        table.add_column(column, justify="right")
    rows = sorted(((ms, name) for (_, name), ms in spent.items() if ms >= 1.0), reverse=True)
    for ms, name in (*rows, (sum(spent.values()), "all")):
        table.add_row(name, f"{ms:.0f}", f"{ms / seconds / 10:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
