"""docs/kernels.md: what the agent can do on each kernel, as the guests reported it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from otel_netagent.model.probe_status import HookStatus, ProbeState, ProbeStatus
from tests.vm.report import Case, Report

Thing = TypeVar("Thing")

PAGE: Final = Path(__file__).parents[2] / "docs" / "kernels.md"

_INTRODUCTION: Final = """\
# Kernels

Generated from the last run of `make test-kernels`, by `make kernels-table`. The run boots each kernel in qemu and runs
the tests in it. It fails if a test fails, or if this page differs from what it saw.

Faults and healthy workloads are those of the truth table ([README](../README.md#can-it-be-trusted) has their number),
except for IPv4 on IPv6 sockets: in the kernel these take the paths of the two other families.
"""

_PROBES: Final = """\
## How each probe attaches

Attach methods are tried in order of preference. What a kernel rejected is listed below; on a node,
`inspector list probe -v` lists it. A number says how many hooks of a probe use the method. All probes collected their
numbers.
"""

_OTHERWISE: Final = """\
## Not attached by the preferred method

What a probe watches by another attach method than the preferred one, or not at all.
"""

_REFUSED: Final = """\
## Programs that a kernel rejects

Each program of each object was loaded and attached by itself, even where no probe would ask for it on that kernel.
"""

_LIMITS: Final = """\
## What a kernel cannot report

On every kernel, each fault of the laboratory is reported with its type, connection, state and reason. The exceptions
(`lab/limits.py`):
"""

_RELEASES: Final = re.compile(r"^\| `uname -r` .*$", re.MULTILINE)


def of_every_day(page: str) -> str:
    """The page without the exact releases, which change from week to week."""
    return _RELEASES.sub("", page)


def render(reports: Sequence[Report]) -> str:
    """The whole page."""
    return "\n".join(
        [
            _INTRODUCTION,
            _table(("", *(f"Linux {each.version}" for each in reports)), _summary(reports)),
            _PROBES,
            _table(("probe", *(each.version for each in reports)), _probes(reports)),
            _OTHERWISE,
            _table(("probe", "what", "kernels", "attach method", "rejected before it"), _otherwise(reports)),
            _REFUSED,
            _table(("program", "kernels", "reason"), _refused(reports)),
            _LIMITS,
            _table(("what", "kernels"), _limits(reports)),
        ]
    )


def _summary(reports: Sequence[Report]) -> Iterator[Sequence[str]]:
    yield ("Debian", *(each.suite for each in reports))
    yield ("`uname -r`", *(each.status.kernel for each in reports))
    for title, of_laboratory in (("faults and healthy workloads", True), ("other tests", False)):
        yield (
            title,
            *(_passed(case for case in each.cases if case.of_laboratory is of_laboratory) for each in reports),
        )


def _passed(cases: Iterable[Case]) -> str:
    outcomes = Counter(case.passed for case in cases)
    return f"**{outcomes[False]} failed**" if outcomes[False] else "all passed" if outcomes[True] else "none"


def _probes(reports: Sequence[Report]) -> Iterator[Sequence[str]]:
    states = [{probe.name: probe for probe in each.status.probes} for each in reports]
    for name in sorted(set().union(*states)):
        yield (f"`{name}`", *(_ways(state[name]) for state in states))


def _ways(probe: ProbeStatus) -> str:
    """`raw_tp 3, fentry 2`: how many of what it watches by which kind of way."""
    if probe.state is ProbeState.UNAVAILABLE:
        return f"unavailable: {_cell(probe.reason)}"
    kinds = Counter(_kind(hook) for hook in probe.hooks)
    return ", ".join(f"{kind} {count}" if count > 1 else kind for kind, count in kinds.items())


def _kind(hook: HookStatus) -> str:
    return hook.way.partition("/")[0] if hook.way else "**not seen**"


def _otherwise(reports: Sequence[Report]) -> Iterator[Sequence[str]]:
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for report in reports:
        for probe in report.status.probes:
            for hook in probe.hooks:
                if hook.refused:
                    refused = "; ".join(f"`{refusal.way}`: {_cell(refusal.reason)}" for refusal in hook.refused)
                    way = f"`{hook.way}`" if hook.way else "**none**"
                    found[f"`{probe.name}`", hook.purpose, way, refused].append(report.version)
    for (name, purpose, way, refused), versions in found.items():
        yield name, purpose, ", ".join(versions), way, refused


def _refused(reports: Sequence[Report]) -> Iterator[Sequence[str]]:
    refused = {each.version: [(program, _cell(why)) for program, why in each.refused.items()] for each in reports}
    for (program, reason), versions in _versions(refused).items():
        yield f"`{program}`", ", ".join(versions), reason


def _limits(reports: Sequence[Report]) -> Iterator[Sequence[str]]:
    met = {each.version: dict.fromkeys(limit for case in each.cases for limit in case.limits) for each in reports}
    for limit, versions in _versions(met).items():
        yield limit, ", ".join(versions)


def _versions(found: Mapping[str, Iterable[Thing]]) -> Mapping[Thing, list[str]]:
    """The versions of each thing, from the things of each version."""
    versions: dict[Thing, list[str]] = defaultdict(list)
    for version, things in found.items():
        for thing in things:
            versions[thing].append(version)
    return versions


def _cell(text: str) -> str:
    """Text that a cell can hold, without addresses; of what a verifier said the last line, which has no numbers."""
    return re.sub(r"0x[0-9a-f]+", "0x…", text.rpartition(" / ")[2]).replace("|", "\\|")


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
