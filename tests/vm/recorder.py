"""Plugin for pytest in a guest: leaves the outcome of every test where it outlives the guest.

python -m pytest -p tests.vm.recorder ...
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

DIRECTORY: Final = Path("/run/vm/report")
IN_GUEST: Final = DIRECTORY.is_dir()
CASES: Final = "cases.jsonl"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One line for each test: of its call, or of what failed before or after it."""
    if report.when == "call" or report.outcome != "passed":
        case = {
            "test": report.nodeid,
            "passed": report.outcome == "passed",
            "limits": [text for name, text in report.user_properties if name == "limit"],
            "why": report.longreprtext,
        }
        with (DIRECTORY / CASES).open("a", encoding="utf-8") as cases:
            cases.write(json.dumps(case) + "\n")
