"""Input and output is what the threads of a namespace did, those that live and those that have ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.namespace import Namespace
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.namespaces import ProcfsWalk
from otel_netagent.kernel.netns_cookies import NetnsCookies
from otel_netagent.kernel.proc import processes
from otel_netagent.probes import io
from tests.identity.reused import SEVERAL, namespace_with_one_of
from tests.probes.reading import KERNEL, WAYS, Reading, at_rest, reading

FIELDS = {
    "syscr": "ioioreadsyscall",
    "syscw": "ioiowritesyscall",
    "read_bytes": "ioioreadbytes",
    "write_bytes": "ioiowritebytes",
}
MEBIBYTE = 1 << 20
PTRACE_SEIZE = 0x4206


@pytest.fixture(params=WAYS)
def done(request: pytest.FixtureRequest, kernel: KernelFacts) -> Iterator[Reading]:
    with reading(io.PROBE, request.param, kernel) as running:
        yield running


@pytest.fixture
def done_by_kernel(kernel: KernelFacts) -> Iterator[Reading]:
    with reading(io.PROBE, KERNEL, kernel) as running:
        yield running


@pytest.fixture
def disk() -> Iterator[Path]:
    """A directory on a real file system: what is written to a tmpfs goes to no storage."""
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as directory:
        yield Path(directory)


def writing(disk: Path, mebibytes: int = 1) -> str:
    """A Python program that writes to a file in pieces of 4 KiB, and reads it again from the storage."""
    return f"""
import os, uuid
file = os.open(os.path.join({str(disk)!r}, uuid.uuid4().hex), os.O_RDWR | os.O_CREAT)
for _ in range({mebibytes} * 256): os.write(file, bytes(4096))
os.fsync(file)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
os.lseek(file, 0, 0)
while os.read(file, 65536): pass
os.close(file)
"""


@contextlib.contextmanager
def running(netns: Namespace, program: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program in the namespace, once it has printed a line; then it waits for its input to end."""
    command = [sys.executable, "-c", program + "\nprint('ready', flush=True)\ninput()"]
    with netns.run(subprocess.Popen, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def shown(pid: int) -> dict[str, int]:
    """The same of a process by /proc/PID/io, read without any code of the agent."""
    lines = (line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return {FIELDS[name]: int(value) for name, value in lines if name in FIELDS}


def difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in after}


def settled(process: subprocess.Popen[str]) -> dict[str, int]:
    """The account of a process that waits for its input to end."""
    at_rest(process.pid)
    return shown(process.pid)


def test_a_process_is_what_its_own_file_shows(done: Reading, quiet: Namespace, disk: Path) -> None:
    before = done.values(quiet)
    with running(quiet, writing(disk)) as process:
        truth = settled(process)
        assert difference(done.values(quiet), before) == truth
        process.kill()
    assert truth["ioiowritesyscall"] >= 256
    assert truth["ioiowritebytes"] >= MEBIBYTE
    assert truth["ioioreadbytes"] >= MEBIBYTE


def test_what_was_done_before_the_probe_began_is_taken_over(kernel: KernelFacts, quiet: Namespace, disk: Path) -> None:
    """With that of threads and children that have ended already, as /proc/PID/io shows it."""
    program = f"""
import subprocess, sys, threading
subprocess.run([sys.executable, "-c", {writing(disk)!r}])
thread = threading.Thread(target=exec, args=({writing(disk)!r}, {{}})); thread.start(); thread.join()
"""
    with running(quiet, program) as process:
        truth = settled(process)
        holder = shown(quiet.pid)
        for way in WAYS:
            with reading(io.PROBE, way, kernel) as done:
                assert difference(done.values(quiet), holder) == truth, way
        process.kill()
    assert truth["ioiowritebytes"] >= 2 * MEBIBYTE


def test_nothing_goes_back_when_a_process_ends(done: Reading, quiet: Namespace, disk: Path) -> None:
    with running(quiet, writing(disk)) as process:
        settled(process)
        living = done.values(quiet)
        process.kill()
    ended = done.values(quiet)
    # The kernel counts the read() in which the process was killed as well.
    last_call = {"ioioreadsyscall": 1 if done.way == KERNEL else 0}
    assert ended == {name: value + last_call.get(name, 0) for name, value in living.items()}
    with running(quiet, writing(disk)) as process:
        second = settled(process)
        assert difference(done.values(quiet), ended) == second
        process.kill()


def test_nothing_goes_back_when_a_thread_ends(done: Reading, quiet: Namespace, disk: Path) -> None:
    program = f"""
import threading
def work():
    exec({writing(disk)!r}, {{}})
    written.set()
    input()
written = threading.Event()
thread = threading.Thread(target=work); thread.start(); written.wait()
print("ready", flush=True)
thread.join()
"""
    before = done.values(quiet)
    with running(quiet, program) as process:
        assert done.values(quiet)["ioiowritebytes"] - before["ioiowritebytes"] >= MEBIBYTE
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        truth = settled(process)
        after = difference(done.values(quiet), before)
        assert after["ioiowritebytes"] == truth["ioiowritebytes"]
        if done.way == KERNEL:
            assert after == truth
        process.kill()


@contextlib.contextmanager
def kept_after_its_end(process: subprocess.Popen[str], thread: int) -> Iterator[None]:
    """Let the process go on until a thread ends; for the time of the block the kernel keeps what is left of it.

    It waits for its tracer to take notice (ptrace(2)), which is this thread.
    """
    assert process.stdin is not None
    assert ctypes.CDLL(None, use_errno=True).ptrace(PTRACE_SEIZE, thread, 0, 0) == 0
    process.stdin.write("\n")
    process.stdin.flush()
    os.waitid(os.P_PID, thread, os.WEXITED | os.WNOWAIT)
    try:
        yield
    finally:
        os.waitid(os.P_PID, thread, os.WEXITED)


def test_a_thread_that_has_ended_and_is_still_there_counts_once(
    done_by_kernel: Reading, quiet: Namespace, disk: Path
) -> None:
    program = f"""
import threading
def work():
    exec({writing(disk)!r}, {{}})
    written.set()
    input()
written = threading.Event()
thread = threading.Thread(target=work); thread.start(); written.wait()
print("ready", flush=True)
thread.join()
"""
    with running(quiet, program) as process:
        (thread,) = (tid for tid in processes.threads(process.pid) if tid != process.pid)
        living = done_by_kernel.values(quiet)["ioiowritebytes"]
        with kept_after_its_end(process, thread):
            assert done_by_kernel.values(quiet)["ioiowritebytes"] == living
        process.kill()


@pytest.mark.parametrize(("passes", "kept"), [(3, True), (4, False)])
def test_an_account_is_kept_for_three_passes_without_a_process(kernel: KernelFacts, passes: int, kept: bool) -> None:
    """Then what was done in the namespace is forgotten: a process that comes later begins with nothing."""
    with contextlib.closing(io.KernelIo(kernel)) as reader, contextlib.ExitStack() as ending:
        with Namespace() as netns:
            at_rest(netns.pid)
            walked = [each for each in ProcfsWalk().take() if each.inode == netns.inode]
            before = reader.read(walked)[netns.inode]
            file = os.open(f"/proc/{netns.pid}/ns/net", os.O_RDONLY)
            ending.callback(os.close, file)
        for _ in range(passes):
            assert netns.inode not in reader.read(walked)
        command = [
            "nsenter",
            f"--net=/proc/{os.getpid()}/fd/{file}",
            sys.executable,
            "-c",
            "print('x', flush=True); input()",
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "x\n"
            own = settled(process)["ioioreadsyscall"]
            now = reader.read(walked)[netns.inode].syscr
            process.kill()
    assert now >= own + before.syscr if kept else now == own


@pytest.mark.parametrize("way", WAYS)
def test_the_next_namespace_with_an_inode_begins_with_nothing(kernel: KernelFacts, way: str) -> None:
    with reading(io.PROBE, way, kernel, NetnsCookies(kernel)) as done, contextlib.ExitStack() as alive:
        old = [alive.enter_context(Namespace()) for _ in range(SEVERAL)]
        for each in old:
            process = alive.enter_context(running(each, "import os\nfor _ in range(5000): os.write(2, b'')"))
            alive.callback(process.kill)
        assert done.values(*old)["ioiowritesyscall"] >= SEVERAL * 5000
        alive.close()
        with namespace_with_one_of([each.inode for each in old]) as new:
            assert done.values(new)["ioiowritesyscall"] < 100


def test_children_that_their_parent_has_reaped_count_once(
    done_by_kernel: Reading, quiet: Namespace, disk: Path
) -> None:
    """Though the kernel adds their numbers to those of the parent, and each lived for less than an interval."""
    child = f"subprocess.run([sys.executable, '-c', {writing(disk)!r}])\n"
    before = done_by_kernel.values(quiet)
    with running(quiet, "import subprocess, sys\n" + 3 * child) as process:
        truth = settled(process)
        assert difference(done_by_kernel.values(quiet), before) == truth
        process.kill()
    assert truth["ioiowritebytes"] >= 3 * MEBIBYTE


def test_a_child_that_is_reaped_from_another_namespace_is_not_lost(done: Reading, quiet: Namespace, disk: Path) -> None:
    """As the first process of a container is, whose parent is the runtime's."""
    before = done.values(quiet)
    with running(quiet, writing(disk)) as process:
        truth = settled(process)
        done.values(quiet)
        process.kill()
        process.wait()
        assert difference(done.values(quiet), before)["ioiowritebytes"] == truth["ioiowritebytes"]


def test_it_never_goes_back_while_processes_come_and_go(done_by_kernel: Reading, quiet: Namespace, disk: Path) -> None:
    before = done_by_kernel.values(quiet)
    program = f"""
import os, threading
def work(): exec({writing(disk)!r}, {{}})
for _ in range(40):
    if (child := os.fork()) == 0:
        for _ in range(4): threading.Thread(target=work).start()
        work()
        while threading.active_count() > 1: pass
        os._exit(0)
    os.waitpid(child, 0)
"""
    command = [sys.executable, "-c", program]
    last = before
    with quiet.run(subprocess.Popen, command) as process:
        while process.poll() is None:
            now = done_by_kernel.values(quiet)
            assert all(now[name] >= last[name] for name in now)
            last = now
    assert done_by_kernel.values(quiet)["ioiowritebytes"] - before["ioiowritebytes"] >= 40 * 5 * MEBIBYTE


def test_a_thread_that_visits_a_namespace_brings_nothing(done: Reading, quiet: Namespace) -> None:
    """Runtimes send threads into a pod's namespace; what their process did before is not the pod's."""
    before = done.values(quiet)
    assert quiet.run(done.values, quiet) == before
