"""Runs a command on other kernels than this machine's.

    .venv/bin/python -m tests.vm run bookworm -- COMMAND...
    .venv/bin/python -m tests.vm run all -- COMMAND...
    .venv/bin/python -m tests.vm table

The command finds this machine's files at their places and starts in the directory that you are in. It may write
anywhere: what it writes is gone with the guest, but for /run/vm/report. Afterwards there are, in build/vm/SUITE: its
`output`, that `report`, and the kernel's own messages in `console`. `table` writes docs/kernels.md from the reports
that `make test-kernels` has left there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from tests.vm import guest, kernels, page
from tests.vm.guest import GuestFailed, Job
from tests.vm.kernels import SUITES, KernelUnobtainable
from tests.vm.report import Report
from tests.vm.results import RESULTS, ResultsInUse, held

_NO_STATUS: Final = 125
"""Exit status where there is no kernel, or no status of the job: as docker and `git bisect run` have it."""

_PACKAGES: Final = {
    "apt-get": "apt",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "lz4": "lz4",
    "modprobe": "kmod",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "zstd": "zstd",
    guest.daemon(): "qemu-system-common",
}
"""Commands that are needed, and the packages of Debian 12 that have them."""


def main() -> int:
    """Run the command line; the exit status is that of a job that failed, or 0."""
    arguments = _parser().parse_args()
    return int(arguments.do(arguments))


def _table(_: argparse.Namespace) -> int:
    try:
        page.PAGE.write_text(page.render([Report.read(suite) for suite in SUITES]), encoding="utf-8")
    except FileNotFoundError as error:
        sys.exit(f"tests.vm: {error.filename} is missing: run make test-kernels")
    return 0


def _run_all(arguments: argparse.Namespace) -> int:
    if os.geteuid() != 0:
        sys.exit("tests.vm: sharing this machine's files with a guest takes root")
    if missing := sorted(package for command, package in _PACKAGES.items() if not shutil.which(command)):
        sys.exit(f"tests.vm: not found on this system; install them: {' '.join(missing)}")
    job = Job(tuple(arguments.command), Path.cwd(), arguments.cpus, nic=arguments.nic, timeout_s=arguments.timeout)
    suites = SUITES if arguments.suite == "all" else (arguments.suite,)
    with ThreadPoolExecutor(max_workers=arguments.parallel) as pool:
        runs = [pool.submit(_run, suite, job, arguments.results / suite) for suite in suites]
        statuses = [run.result() for run in as_completed(runs)]
    return next((status for status in statuses if status), 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.vm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="run|table")
    run = commands.add_parser("run", help="run a command on a kernel")
    run.add_argument("suite", choices=(*SUITES, "all"), help="whose kernel, by Debian's name of the release")
    run.add_argument("command", nargs="+", help="command and arguments, after --")
    run.add_argument("--cpus", type=int, default=1, metavar="N", help="CPUs of a guest (1)")
    run.add_argument("--nic", action="store_true", help="give it a virtio network device, whose wire leads nowhere")
    run.add_argument("--timeout", type=float, default=300, metavar="SECONDS", help="how long a guest may live (300)")
    run.add_argument("--parallel", type=int, default=2, metavar="N", help="guests at a time (2)")
    run.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="instead of build/vm")
    run.set_defaults(do=_run_all)
    table = commands.add_parser("table", help="write docs/kernels.md")
    table.set_defaults(do=_table)
    return parser


def _run(suite: str, job: Job, directory: Path) -> int:
    """Run the job on one kernel and print what it gave; its exit status."""
    try:
        kernel = kernels.obtain(suite)
        with held(directory):
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


if __name__ == "__main__":
    sys.exit(main())
