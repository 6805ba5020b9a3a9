"""The agent on kernels without BTF, by their headers: the faults of other kernels, told by the same programs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.vm import guest, headers, kernels
from tests.vm.guest import Job
from tests.vm.results import RESULTS, held

pytestmark = pytest.mark.kernels

_ROOT: Final = Path(__file__).parents[2]
_TESTS: Final = ("tests/vm/legacy", "tests/faults")
_SUITES: Final = ("bullseye", "bookworm")
"""Not newer kernels than Debian 12 has BCC for: its compiler would not understand their headers."""

_CHOICE: Final = "test_header_types or (IPV4 and not (window_closed or reader_stopped or corked))"
"""Not the faults that only socketlatency tells, which needs BTF in the kernel itself; and one family, to save time."""

_PYTEST: Final = (".venv/bin/python", "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider")


@pytest.fixture(scope="module")
def unpacked() -> dict[str, tuple[kernels.Kernel, Path]]:
    """Kernels and their headers: all at first, since each is tried with those of another too."""
    obtained = {suite: kernels.obtain(suite) for suite in _SUITES}
    return {suite: (kernel, headers.obtain(kernel)) for suite, kernel in obtained.items()}


@pytest.mark.parametrize("suite", _SUITES)
def test_probes_run_and_tell_every_fault(suite: str, unpacked: dict[str, tuple[kernels.Kernel, Path]]) -> None:
    kernel, of_kernel = unpacked[suite]
    command = ("tests/vm/without_btf.sh", str(of_kernel), *_PYTEST, "-k", _CHOICE, *_TESTS)
    directory = RESULTS / f"{suite}-legacy"
    with held(directory):
        result = guest.run(kernel, Job(command, _ROOT, nic=True, timeout_s=1200), directory)
        assert result.status == 0, (directory / "output").read_text(encoding="utf-8", errors="replace")
