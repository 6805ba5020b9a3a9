"""Measuring CPU time of several ways of doing the same, in turn, so that the machine's moods hit all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time of this process, user and system together, in milliseconds."""

    least: float
    median: float


def cpu_cost(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Cost]:
    """Each way's cost, over `rounds` rounds in which every way has its turn; a first round is not counted."""
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for counted in (False, *[True] * rounds):
        for name, way in ways.items():
            before = time.process_time_ns()
            way()
            spent = (time.process_time_ns() - before) / 1e6
            if counted:
                samples[name].append(spent)
    return {name: Cost(min(times), statistics.median(times)) for name, times in samples.items()}


def print_costs(title: str, costs: Mapping[str, Cost], base: str) -> None:
    """A table of the costs, with each median in relation to that of `base`."""
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    for column in ("least ms", "median ms", f"of {base}"):
        table.add_column(column, justify="right")
    for name, cost in costs.items():
        table.add_row(name, f"{cost.least:.2f}", f"{cost.median:.2f}", f"{cost.median / costs[base].median:.2f}")
    Console(width=100).print(table)
