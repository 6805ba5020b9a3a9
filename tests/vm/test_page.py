"""docs/kernels.md, from reports that are made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otel_netagent.model.probe_status import HookStatus, ProbeState, ProbeStatus, Refusal
from otel_netagent.outputs.http.status import AgentStatus
from tests.vm.page import of_every_day, render
from tests.vm.report import Case, Report

DROPS = HookStatus("drops", "raw_tp/kfree_skb")
BY_ENTRY = HookStatus(
    "the end", "fentry/tcp_check_req", (Refusal("raw_tp/kfree_skb", "before Linux 6.11 | no socket"),)
)
UNSEEN = HookStatus("the end", None, (Refusal("raw_tp/kfree_skb", "before Linux 6.11"), Refusal("kprobe/x", "ENOENT")))
LIMIT = "Resets have no reason before 6.10."


def report(
    release: str, *probes: ProbeStatus, refused: dict[str, str] | None = None, cases: tuple[Case, ...] = ()
) -> Report:
    return Report("suite", AgentStatus("1", "", release, "/btf", probes, {}), refused or {}, cases)


def rows(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


OLD = report(
    "6.1.0-56-cloud-amd64",
    ProbeStatus("packetloss", ProbeState.RUNNING, (DROPS, BY_ENTRY)),
    ProbeStatus("virtcmdlat", ProbeState.UNAVAILABLE, reason="no such function"),
    refused={"tcpreset: raw_tp/kfree_skb": "Invalid argument: 13: (b7) r4 = 1 / ctx at 0xffff8880 | EINVAL"},
    cases=(
        Case("tests/vm/inside/test_faults.py::a", passed=True, limits=(LIMIT,), why=""),
        Case("tests/vm/inside/test_faults.py::b", passed=False, limits=(LIMIT,), why="assert"),
        Case("tests/vm/inside/test_programs.py::c", passed=True, limits=(), why=""),
    ),
)
NEW = report(
    "7.2.13+deb14-cloud-amd64",
    ProbeStatus("packetloss", ProbeState.DEGRADED, (DROPS, UNSEEN), "not seen"),
    ProbeStatus("virtcmdlat", ProbeState.RUNNING, (DROPS, DROPS)),
)


def test_each_probe_has_its_ways_on_each_kernel() -> None:
    text = render([OLD, NEW])
    assert rows(text, "| probe | 6") == ["| probe | 6.1 | 7.2 |"]
    assert rows(text, "| `packetloss` | raw")[0] == "| `packetloss` | raw_tp, fentry | raw_tp, **not seen** |"
    assert rows(text, "| `virtcmdlat`") == ["| `virtcmdlat` | unavailable: no such function | raw_tp 2 |"]


def test_what_was_refused_has_its_reason_and_breaks_no_table() -> None:
    text = render([OLD, NEW])
    assert (
        "| `packetloss` | the end | 6.1 | `fentry/tcp_check_req` | `raw_tp/kfree_skb`: before Linux 6.11 \\| no" in text
    )
    assert "| the end | 7.2 | **none** | `raw_tp/kfree_skb`: before Linux 6.11; `kprobe/x`: ENOENT |" in text
    assert "| `tcpreset: raw_tp/kfree_skb` | 6.1 | ctx at 0x… \\| EINVAL |" in text


def test_outcomes_and_limits_are_counted() -> None:
    text = render([OLD, NEW])
    assert rows(text, "| faults") == ["| faults and healthy workloads | **1 failed** | none |"]
    assert rows(text, "| other") == ["| other tests | all passed | none |"]
    assert rows(text, f"| {LIMIT}") == [f"| {LIMIT} | 6.1 |"]


def test_the_page_of_last_weeks_kernel_is_the_same_page() -> None:
    other = report("6.1.0-57-cloud-amd64", *OLD.status.probes, refused=dict(OLD.refused), cases=OLD.cases)
    assert render([other]) != render([OLD])
    assert of_every_day(render([other])) == of_every_day(render([OLD]))


def test_a_report_is_read_as_the_guest_wrote_it(tmp_path: Path) -> None:
    directory = tmp_path / "sid" / "report"
    directory.mkdir(parents=True)
    (directory / "status.json").write_text(NEW.status.to_json())
    (directory / "programs.json").write_text("{}")
    case = {"test": "tests/vm/inside/test_faults.py::a", "passed": True, "limits": [LIMIT], "why": ""}
    (directory / "cases.jsonl").write_text(json.dumps(case) + "\n")
    read = Report.read("sid", tmp_path)
    assert (read.version, read.cases, read.status) == ("7.2", OLD.cases[:1], NEW.status)


def test_a_report_that_is_not_whole_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Report.read("sid", tmp_path)
