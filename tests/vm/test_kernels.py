"""The agent on real kernels, 5.10 to the newest: all programs, probes and faults, in guests, two at a time.

`make test-kernels` runs it. What the guests report is published in docs/kernels.md, which must say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final

import pytest

from lab import catalogue
from lab.scenario import cases
from lab.truth import Family
from tests.vm import guest, kernels, page
from tests.vm.guest import GuestFailed, Job
from tests.vm.kernels import SUITES, Kernel
from tests.vm.report import Report
from tests.vm.results import RESULTS, held
from tests.vm.tests_inside import ROOT, command, compile_ahead

pytestmark = pytest.mark.kernels

_TESTS: Final = "tests/vm/inside"
_CHOICE: Final = "not MAPPED"
"""IPv4 on sockets of IPv6 is a third of all cases, and passes by nothing in a kernel that the two others do not."""

_JOB: Final = Job(command("-p", "tests.vm.recorder", "-k", _CHOICE, _TESTS), ROOT, nic=True, timeout_s=1800)
_GUESTS_AT_A_TIME: Final = 2
_ALL_TRIED: Final = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


@pytest.fixture(scope="module")
def report_of() -> Iterator[Callable[[str], Report]]:
    """Waits for the report of a kernel; all are tried, whatever becomes of one.

    None is booted before all are there, since some tests look at the files of the others.
    """
    compile_ahead([_TESTS])
    with ThreadPoolExecutor(max_workers=_GUESTS_AT_A_TIME) as pool:
        obtained = {suite: pool.submit(kernels.obtain, suite) for suite in SUITES}
        wait(obtained.values())
        runs = {suite: pool.submit(_run, kernel) for suite, kernel in obtained.items()}
        yield lambda suite: runs[suite].result()


def _run(obtained: Future[Kernel]) -> Report:
    """Boot a kernel with the tests. Raises KernelUnobtainable, GuestFailed or ResultsInUse."""
    kernel = obtained.result()
    directory = RESULTS / kernel.suite
    with held(directory):
        status = guest.run(kernel, _JOB, directory).status
        if status not in _ALL_TRIED:
            raise GuestFailed(f"pytest ended with {status}:\n{(directory / 'output').read_text('utf-8', 'replace')}")
        return Report.read(kernel.suite)


@pytest.mark.parametrize("suite", SUITES)
def test_everything_passes(suite: str, report_of: Callable[[str], Report]) -> None:
    report = report_of(suite)
    failed = [f"{case.test}\n{case.why}" for case in report.cases if not case.passed]
    assert not failed, "\n\n".join(failed)
    played = [case for case in report.cases if case.of_laboratory]
    assert len(played) == sum(family is not Family.MAPPED for _, family in cases(catalogue.FAULTS + catalogue.HEALTHY))


def test_the_page_says_what_was_seen(report_of: Callable[[str], Report]) -> None:
    seen = page.render([report_of(suite) for suite in SUITES])
    published = page.PAGE.read_text(encoding="utf-8") if page.PAGE.exists() else ""
    assert page.of_every_day(published) == page.of_every_day(seen), "write it again: make kernels-table"
