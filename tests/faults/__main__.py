"""Prints the truth table of faults and healthy workloads: `python -m tests.faults`, as root.

Ends with 1 if an event was missed or false.
"""

from __future__ import annotations

import statistics
import sys

from lab import catalogue
from lab.scenario import cases
from tests.faults.table import Outcome, outcomes

_ROW = "{:<46} {:<20} {:>8} {:>6} {:>6} {:>6} {:>10}"


def main() -> int:
    """Make the faults and print a line for each."""
    print(_ROW.format("fault", "family", "expected", "seen", "missed", "false", "median ms"))
    found: list[Outcome] = []
    for outcome in outcomes():
        print(_line(outcome), flush=True)
        found.append(outcome)
    missed, false = sum(each.missed for each in found), sum(each.false for each in found)
    delays = [delay for each in found for delay in each.delays_ms]
    faults, healthy = len(cases(catalogue.FAULTS)), len(cases(catalogue.HEALTHY))
    print(
        f"\n{faults} faults, {healthy} healthy workloads: {sum(each.expected for each in found)} events expected, "
        f"{missed} missed, {false} false; time to event: median {statistics.median(delays):.1f} ms, "
        f"99 of 100 within {statistics.quantiles(delays, n=100)[98]:.1f} ms"
    )
    return 1 if missed or false else 0


def _line(outcome: Outcome) -> str:
    median = "" if outcome.median_ms is None else f"{outcome.median_ms:.1f}"
    numbers = (outcome.expected, outcome.seen, outcome.missed, outcome.false)
    return _ROW.format(outcome.fault, outcome.family, *numbers, median)


if __name__ == "__main__":
    sys.exit(main())
