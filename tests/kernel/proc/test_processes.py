"""Processes are read from real ones: which there are, their namespaces, cgroups and times."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from lab.namespace import Namespace
from otel_netagent.kernel.proc import processes

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def test_a_process_started_when_it_was_started() -> None:
    before = time.time_ns()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        after = time.time_ns()
        start = processes.process_start_ns(process.pid)
    assert start is not None
    assert before - 2 * TICK_NS <= start <= after  # whole ticks, and the clock of the boot is read a moment later


def test_a_command_may_hold_anything(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    shutil.copy(shutil.which("cat") or "", program)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        ticks = processes.start_ticks(process.pid)
    own = processes.start_ticks(os.getpid())
    assert ticks is not None
    assert own is not None
    assert own <= ticks <= time.clock_gettime_ns(time.CLOCK_BOOTTIME) // TICK_NS


def test_processes_are_listed_and_threads_are_not(child: subprocess.Popen[bytes]) -> None:
    pids = processes.pids()
    assert {os.getpid(), child.pid} <= set(pids)
    assert len(pids) == len(set(pids))


def test_the_namespace_of_a_process_is_the_one_it_is_in(netns: Namespace) -> None:
    assert processes.netns_of(netns.pid) == netns.inode
    assert processes.netns_of(os.getpid()) == Path("/proc/self/ns/net").stat().st_ino != netns.inode


def test_the_cgroup_is_the_text_of_the_kernel(child: subprocess.Popen[bytes]) -> None:
    assert processes.cgroup_of(child.pid) == Path(f"/proc/{child.pid}/cgroup").read_text()


def test_a_process_that_is_gone_is_none(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    assert processes.netns_of(child.pid) is None
    assert processes.cgroup_of(child.pid) is None
    assert processes.start_ticks(child.pid) is None
    assert processes.process_start_ns(child.pid) is None


def test_a_zombie_is_in_no_namespace(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.netns_of(child.pid) is None


def test_procfs_may_be_mounted_elsewhere(tmp_path: Path) -> None:
    process = tmp_path / "12"
    (process / "ns").mkdir(parents=True)
    (process / "ns" / "net").symlink_to("net:[4026532001]")
    (process / "cgroup").write_text("0::/x\n")
    (process / "stat").write_text("12 (x) S " + " ".join(map(str, range(4, 53))))
    (tmp_path / "self").mkdir()
    assert processes.pids(tmp_path) == [12]
    assert processes.netns_of(12, tmp_path) == 4026532001
    assert processes.cgroup_of(12, tmp_path) == "0::/x\n"
    assert processes.start_ticks(12, tmp_path) == 22
