"""docs/kernels.md: what the agent can do on each kernel, as the guests reported it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from otel_netagent.telemetry.status import HookStatus, ProbeState, ProbeStatus
from tests.vm.report import Case, Report

PAGE: Final = Path(__file__).parents[2] / "docs" / "kernels.md"

_INTRODUCTION: Final = """\
# Kernels

Generated from the last run of `make test-kernels`, by `make kernels-table`. The run boots each kernel in qemu with the
tests inside. It fails where a test does, and where this page says otherwise than what it saw.
"""

_PROBES: Final = """\
## How each probe attaches

By the preferred way, if nothing else is said below: ways are tried best first, and what this kernel has refused is
in `inspector list probe` with the reason. All probes collected their numbers.
"""

_OTHERWISE: Final = """\
## Attached otherwise than preferred

What a probe watches by another way than its best, or not at all.
"""

_REFUSED: Final = """\
## Programs that a kernel refuses

Each program of each object was loaded and attached alone, those too that a probe would not ask for on that kernel.
"""

_LIMITS: Final = """\
## What a kernel cannot tell

Each fault of the laboratory is told with its type, connection, state and reason on every kernel, but for this, in so
many of the faults (`tests/lab/limits.py`):
"""

_RELEASE: Final = re.compile(r"^\| `uname -r` .*$", re.MULTILINE)


def without_releases(page: str) -> str:
    """The page but for the exact releases, which change from week to week."""
    return _RELEASE.sub("", page)


def render(reports: Sequence[Report]) -> str:
    """The whole page."""
    return "\n".join(
        [
            _INTRODUCTION,
            _table(("", *(f"Linux {each.version}" for each in reports)), _summary(reports)),
            _PROBES,
            _table(("probe", *(each.version for each in reports)), _probes(reports)),
            _OTHERWISE,
            _table(("probe", "what", "kernels", "way", "refused before it"), _otherwise(reports)),
            _REFUSED,
            _table(("program", "kernels", "reason"), _refused(reports)),
            _LIMITS,
            _table(("", *(each.version for each in reports)), _limits(reports)),
        ]
    )


def _summary(reports: Sequence[Report]) -> Iterator[Sequence[str]]:
    yield ("Debian", *(each.suite for each in reports))
    yield ("`uname -r`", *(each.status.kernel for each in reports))
    for title, part in (("faults", "tests/faults/"), ("other tests", "tests/vm/")):
        yield (title, *(_passed(each, part) for each in reports))


def _passed(report: Report, part: str) -> str:
    outcomes = Counter(case.passed for case in report.cases if case.test.startswith(part))
    failed = f", **{outcomes[False]} failed**" if outcomes[False] else ""
    return f"{outcomes[True]} passed{failed}"


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
    for (program, reason), versions in _by_version({each.version: each.refused.items() for each in reports}).items():
        yield f"`{program}`", ", ".join(versions), _cell(reason)


def _by_version(found: Mapping[str, Iterable[tuple[str, str]]]) -> Mapping[tuple[str, str], list[str]]:
    versions: dict[tuple[str, str], list[str]] = defaultdict(list)
    for version, things in found.items():
        for thing in things:
            versions[thing].append(version)
    return versions


def _limits(reports: Sequence[Report]) -> Iterator[Sequence[str]]:
    counted = [Counter(limit for case in _faults(each) for limit in case.limits) for each in reports]
    for limit in dict.fromkeys(limit for each in counted for limit in each):
        yield (limit, *(str(each[limit] or "") for each in counted))


def _faults(report: Report) -> Iterator[Case]:
    return (case for case in report.cases if case.test.startswith("tests/faults/"))


def _cell(text: str) -> str:
    """Text that a cell of a table can hold, without addresses and numbers that differ from run to run."""
    return re.sub(r"0x[0-9a-f]+", "0x…", text).replace("|", "\\|")


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
