"""What a guest reported of its kernel: the state of each probe, each program alone, and the outcome of each test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from otel_netagent.outputs.http.status import AgentStatus
from tests.vm import recorder
from tests.vm.results import RESULTS

STATUS: Final = "status.json"
PROGRAMS: Final = "programs.json"


@dataclass(frozen=True, slots=True)
class Case:
    """Outcome of one test; `limits` says what of its truth this kernel cannot tell, `why` how it failed."""

    test: str
    passed: bool
    limits: tuple[str, ...]
    why: str

    @property
    def of_laboratory(self) -> bool:
        """Whether it played a fault or a healthy workload."""
        return "/test_faults.py::" in self.test


@dataclass(frozen=True, slots=True)
class Report:
    """All of one kernel. `refused` are the programs that it refused, each tried alone: `object: section` and why."""

    suite: str
    status: AgentStatus
    refused: Mapping[str, str]
    cases: tuple[Case, ...]

    @classmethod
    def read(cls, suite: str, results: Path = RESULTS) -> Self:
        """What the last run of this kernel left. Raises FileNotFoundError where it left nothing, or not all."""
        directory = results / suite / "report"
        cases = (json.loads(line) for line in (directory / recorder.CASES).read_text("utf-8").splitlines())
        return cls(
            suite,
            AgentStatus.from_json((directory / STATUS).read_text("utf-8")),
            json.loads((directory / PROGRAMS).read_text("utf-8")),
            tuple(Case(case["test"], case["passed"], tuple(case["limits"]), case["why"]) for case in cases),
        )

    @property
    def version(self) -> str:
        """Version of the kernel, as it is spoken of: 6.12."""
        return ".".join(self.status.kernel.split(".")[:2])
