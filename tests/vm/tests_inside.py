"""The tests of a guest: pytest, with bytecode from here, since under emulation it takes half a minute to compile."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.vm.results import RESULTS

ROOT: Final = Path(__file__).parents[2]
_BYTECODE: Final = RESULTS / "bytecode"
_PYTEST: Final = (".venv/bin/python", "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider")


def command(*arguments: str) -> tuple[str, ...]:
    """The command that runs tests in a guest, in ROOT."""
    return ("nice", "env", f"PYTHONPYCACHEPREFIX={_BYTECODE}", *_PYTEST, *arguments)


def compile_ahead(tests: Sequence[str]) -> None:
    """Have the bytecode of tests, and of all that they import, compiled here. Raises CalledProcessError."""
    asked = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(_BYTECODE), "PYTEST_ADDOPTS": ""}
    collect = (*_PYTEST, "--collect-only", *tests)
    subprocess.run(collect, cwd=ROOT, env=os.environ | asked, check=True, stdout=subprocess.DEVNULL)
