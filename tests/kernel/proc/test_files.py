"""Files of procfs are read whole, and none stays open."""

from __future__ import annotations

import os
import subprocess

from lab.namespace import Namespace
from otel_netagent.kernel.proc import files, process_io, processes


def test_a_long_table_is_read_to_its_end(netns: Namespace) -> None:
    numbers = range(50)
    pairs = (f"link add veth{number} type veth peer name peer{number}\n" for number in numbers)
    netns.command("ip", "-batch", "-", stdin="".join(pairs))
    text = files.read_net(netns.pid, "dev") or ""
    names = {f"{end}{number}" for number in numbers for end in ("veth", "peer")}
    assert {line.partition(":")[0].strip() for line in text.splitlines()[2:]} == names | {"lo"}


def test_of_a_process_that_is_gone_there_is_no_file(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not files.read_net(child.pid, "dev")  # a zombie is in no namespace
    child.wait()
    assert files.read_net(child.pid, "dev") is None


def test_lines_end_where_the_kernel_ends_them() -> None:
    assert files.lines_of("a\x85b\u2028c\rd\n\n") == ["a\x85b\u2028c\rd", ""]
    assert files.lines_of("no end") == ["no end"]
    assert files.lines_of("") == []


def test_no_file_stays_open(netns: Namespace) -> None:
    def open_files() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- of numbers

    before = open_files()
    for pid in (netns.pid, os.getpid()):
        processes.netns_of(pid)
        processes.cgroup_of(pid)
        processes.process_start_ns(pid)
        process_io.io_of(pid)
        files.read_net(pid, "dev")
    processes.pids()
    assert open_files() == before
