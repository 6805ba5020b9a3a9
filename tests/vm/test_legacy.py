"""The agent on kernels without BTF, by their headers: the faults of other kernels, told by the same programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.vm import guest, headers, kernels
from tests.vm.guest import Job
from tests.vm.kernels import Kernel
from tests.vm.results import RESULTS, held
from tests.vm.tests_inside import ROOT, command, compile_ahead

pytestmark = pytest.mark.kernels

_TESTS: Final = "tests/vm/legacy"
_SUITES: Final = ("bullseye", "bookworm")
"""Not newer kernels than Debian 12 has BCC for: its compiler would not understand their headers."""

_CHOICE: Final = "test_header_types or test_programs or IPV4"
"""Of the faults one family, to save time."""


@pytest.fixture(scope="module")
def run_of() -> Iterator[Callable[[str], tuple[int, str]]]:
    """Waits for the exit status and the output of a kernel's run; all of them run at once.

    None is booted before all headers are there, since each kernel is tried with those of another too.
    """
    compile_ahead([_TESTS])
    obtained = [kernels.obtain(suite) for suite in _SUITES]
    unpacked = [(kernel, headers.obtain(kernel)) for kernel in obtained]
    with ThreadPoolExecutor() as pool:
        runs = {kernel.suite: pool.submit(_run, kernel, of_kernel) for kernel, of_kernel in unpacked}
        yield lambda suite: runs[suite].result()


def _run(kernel: Kernel, of_kernel: Path) -> tuple[int, str]:
    job = ("tests/vm/without_btf.sh", str(of_kernel), *command("-k", _CHOICE, _TESTS))
    directory = RESULTS / f"{kernel.suite}-legacy"
    with held(directory):
        result = guest.run(kernel, Job(job, ROOT, nic=True, timeout_s=1800), directory)
        return result.status, (directory / "output").read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("suite", _SUITES)
def test_probes_run_and_tell_every_fault(suite: str, run_of: Callable[[str], tuple[int, str]]) -> None:
    status, output = run_of(suite)
    assert status == 0, output
