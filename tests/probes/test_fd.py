"""Descriptors are counted as /proc/PID/fd lists them: for each process, once for all its threads."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.namespace import Namespace
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.probes import fd
from tests.probes.reading import WAYS, Reading, at_rest, reading


@pytest.fixture(params=WAYS)
def count(request: pytest.FixtureRequest, kernel: KernelFacts) -> Iterator[Reading]:
    with reading(fd.PROBE, request.param, kernel) as running:
        yield running


@contextlib.contextmanager
def running(netns: Namespace, program: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """A Python program in the namespace, once it has printed a line; it lives until its input ends."""
    command = [sys.executable, "-c", program]
    with netns.run(
        lambda: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def listed(pid: int) -> list[str]:
    """What the descriptors of a process lead to."""
    return [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]


SIX_PROCESSES = """
import os, socket, sys
files = [open("/dev/null") for _ in range(50)]
sockets = socket.socketpair() + socket.socketpair() + (socket.socket(), socket.socket(socket.AF_INET6), socket.socket())
shared = [os.dup(files[0].fileno()) for _ in range(4)]
for child in range(5):
    if os.fork() == 0:
        own = [open("/dev/zero") for _ in range(child)]
        sys.stdout.write("x"); sys.stdout.flush()
        os.read(0, 1)
        os._exit(0)
"""


def test_six_processes_that_share_files(count: Reading, quiet: Namespace) -> None:
    before = count.values(quiet)
    program = SIX_PROCESSES.replace('sys.stdout.write("x"); sys.stdout.flush()', "os.write(done, b'x')")
    program = (
        "import os\ntold, done = os.pipe()\n"
        + program
        + "os.read(told, 1); " * 5
        + "\nprint('ready', flush=True)\ninput()"
    )
    with running(quiet, program) as process:
        values = count.values(quiet)
        process.kill()
    each = 3 + 2 + 50 + 7 + 4  # standard streams, the pipe, files, sockets, duplicates
    assert values["fdopenfd"] - before["fdopenfd"] == 6 * each + (0 + 1 + 2 + 3 + 4)
    assert values["fdopensocket"] - before["fdopensocket"] == 6 * 7


def test_threads_share_their_process_descriptors(count: Reading, quiet: Namespace) -> None:
    program = (
        "import socket, threading\nheld = [socket.socket() for _ in range(9)]\n"
        "for _ in range(20): threading.Thread(target=input).start()\nprint('ready', flush=True)"
    )
    before = count.values(quiet)
    with running(quiet, program) as process:
        values = count.values(quiet)
        assert values["fdopenfd"] - before["fdopenfd"] == len(listed(process.pid)) == 12
        assert values["fdopensocket"] - before["fdopensocket"] == 9
        process.kill()


def test_a_large_table_with_gaps(count: Reading, quiet: Namespace) -> None:
    """Descriptors up to 20,000, of which most are not open; some words of 64 are full, some empty."""
    program = (
        "import os, socket\nhold = socket.socket()\n"
        "for number in [*range(1000, 3000), *range(9000, 20000, 97)]: os.dup2(hold.fileno(), number)\n"
        "print('ready', flush=True)\ninput()"
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(20000, min(hard, 30000))
    before = count.values(quiet)
    with running(
        quiet, f"import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {max(limit, hard)}))\n" + program
    ) as process:
        values = count.values(quiet)
        assert values["fdopenfd"] - before["fdopenfd"] == len(listed(process.pid)) == 4 + 2000 + 114
        assert values["fdopensocket"] - before["fdopensocket"] == 1 + 2000 + 114
        process.kill()


def test_the_file_of_a_unix_socket_is_no_socket(count: Reading, quiet: Namespace, tmp_path: Path) -> None:
    before = count.values(quiet)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        opened = f"os.open({str(tmp_path / 'socket')!r}, os.O_PATH)"
        with running(quiet, f"import os\n{opened}\nprint('ready', flush=True)\ninput()") as process:
            values = count.values(quiet)
            process.kill()
    assert values["fdopenfd"] - before["fdopenfd"] == 4
    assert values["fdopensocket"] - before["fdopensocket"] == 0


def test_a_descriptor_counts_where_its_process_is(count: Reading, quiet: Namespace) -> None:
    """Whatever namespace the socket belongs to."""
    program = "print('ready', flush=True)\ninput()"
    with Namespace() as elsewhere, elsewhere.socket(socket.AF_INET, socket.SOCK_STREAM) as foreign:
        at_rest(elsewhere.pid)
        before, there = count.values(quiet), count.values(elsewhere)
        with running(quiet, program, pass_fds=[foreign.fileno()]) as process:
            assert count.values(quiet)["fdopensocket"] - before["fdopensocket"] == 1
            assert count.values(elsewhere) == there
            process.kill()


def test_nothing_is_left_of_a_process_that_has_ended(count: Reading, quiet: Namespace) -> None:
    before = count.values(quiet)
    with running(quiet, "import socket\nheld = socket.socket()\nprint('ready', flush=True)\ninput()") as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie still
        assert count.values(quiet) == before
    assert count.values(quiet) == before
