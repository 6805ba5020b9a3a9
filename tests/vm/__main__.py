"""Runs a command on other kernels than this machine's.

    .venv/bin/python -m tests.vm run bookworm -- COMMAND...
    .venv/bin/python -m tests.vm run all -- COMMAND...

The command finds this machine's files at their places and starts in the directory that you are in. It may write
anywhere: what it writes is gone with the guest, but for /run/vm/report. Afterwards there are, in build/vm/SUITE: its
`output`, that `report`, and the kernel's own messages in `console`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from tests.vm import guest, kernels
from tests.vm.guest import GuestFailed, Job
from tests.vm.kernels import SUITES, KernelUnobtainable

_RESULTS: Final = Path(__file__).parents[2] / "build" / "vm"
_NO_STATUS: Final = 125
"""Exit status where there is no kernel, or no status of the job: as docker and `git bisect run` have it."""

_PACKAGES: Final = {
    "apt-get": "apt",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "modprobe": "kmod",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    guest.daemon(): "qemu-system-common",
}
"""Commands that are needed, and the packages of Debian 12 that have them."""


class ResultsInUse(Exception):
    """Another run is writing to the same directory."""


def main() -> int:
    """Run the command line; the exit status is that of a job that failed, or 0."""
    arguments = _parser().parse_args()
    if os.geteuid() != 0:
        sys.exit("tests.vm: sharing this machine's files with a guest takes root")
    if missing := sorted(package for command, package in _PACKAGES.items() if not shutil.which(command)):
        sys.exit(f"tests.vm: not found on this system; install them: {' '.join(missing)}")
    job = Job(tuple(arguments.command), Path.cwd(), cpus=arguments.cpus, timeout_s=arguments.timeout)
    suites = SUITES if arguments.suite == "all" else (arguments.suite,)
    with ThreadPoolExecutor(max_workers=arguments.parallel) as pool:
        runs = [pool.submit(_run, suite, job, arguments.results / suite) for suite in suites]
        statuses = [run.result() for run in as_completed(runs)]
    return next((status for status in statuses if status), 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.vm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    run = parser.add_subparsers(required=True, metavar="run").add_parser("run", help="run a command on a kernel")
    run.add_argument("suite", choices=(*SUITES, "all"), help="whose kernel, by Debian's name of the release")
    run.add_argument("command", nargs="+", help="command and arguments, after --")
    run.add_argument("--cpus", type=int, default=1, metavar="N", help="CPUs of a guest (1)")
    run.add_argument("--timeout", type=float, default=300, metavar="SECONDS", help="how long a guest may live (300)")
    run.add_argument("--parallel", type=int, default=2, metavar="N", help="guests at a time (2)")
    run.add_argument("--results", type=Path, default=_RESULTS, metavar="DIR", help="instead of build/vm")
    return parser


def _run(suite: str, job: Job, directory: Path) -> int:
    """Run the job on one kernel and print what it gave; its exit status."""
    try:
        kernel = kernels.obtain(suite)
        with _held(directory):
            result = guest.run(kernel, job, directory)
            output = (directory / "output").read_text(encoding="utf-8", errors="replace")
    except (KernelUnobtainable, ResultsInUse) as error:
        sys.stderr.write(f"tests.vm: {suite}: {error}\n")
        return _NO_STATUS
    except GuestFailed as error:
        sys.stderr.write(f"tests.vm: {suite}: {error}\nWhat the job gave until then is in {directory}/output\n")
        return _NO_STATUS
    # One write, so that the output of two guests is not mixed.
    sys.stdout.write(f"== {suite}, Linux {kernel.release}: exit {result.status}, {result.seconds:.0f} s\n{output}")
    return result.status


@contextlib.contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Keep a directory of results to ourselves. Raises ResultsInUse."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ResultsInUse(f"{directory} is in use by another run: name another place by --results") from None
        yield


if __name__ == "__main__":
    sys.exit(main())
