"""Procfs is read as the kernel writes it, from real processes and namespaces."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.namespace import Namespace
from lab.waiting import eventually
from otel_netagent.kernel.proc import files, mib_tables, net_dev, processes
from otel_netagent.kernel.proc.files import MalformedTable
from otel_netagent.kernel.proc.net_dev import NetDev

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")

counters = st.integers(min_value=0, max_value=2**64 - 1)
words = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", min_size=1, max_size=12)
interface_names = st.text(
    # dev_valid_name in net/core/dev.c: no slash, no white space; the colon is refused only by newer kernels.
    st.characters(codec="utf-8", exclude_characters="/ \t\n\v\f\r\xa0\x85\0"),
    min_size=1,
    max_size=15,
).filter(lambda name: name not in (".", ".."))


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process


# --- MIB tables


@pytest.mark.parametrize("table", ["snmp", "netstat"])
def test_every_counter_of_the_kernel_is_read(table: str) -> None:
    text = files.read_net(os.getpid(), table)
    assert text is not None
    mibs = mib_tables.parse_mib_pairs(text, table)
    names = [line.split() for line in text.splitlines()[::2]]
    assert [[f"{protocol}:", *mibs[protocol]] for protocol in mibs] == names


def test_the_counters_are_those_of_the_namespace(netns: Namespace) -> None:
    receiver = netns.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender = netns.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind(("127.0.0.1", 0))
        for _ in range(3):
            sender.sendto(b"x", receiver.getsockname())
            receiver.recv(1)
    mibs = mib_tables.parse_mib_pairs(files.read_net(netns.pid, "snmp") or "")
    assert (mibs["Udp"]["OutDatagrams"], mibs["Udp"]["InDatagrams"]) == (3, 3)
    assert mibs["Tcp"]["MaxConn"] == -1


@given(st.lists(st.tuples(words, st.dictionaries(words, counters | st.just(-1), min_size=1)), max_size=6))
def test_any_table_is_read_back(blocks: list[tuple[str, dict[str, int]]]) -> None:
    text = "".join(
        f"{protocol}: {' '.join(values)}\n{protocol}: {' '.join(map(str, values.values()))}\n"
        for protocol, values in blocks
    )
    expected: dict[str, dict[str, int]] = {}
    for protocol, values in blocks:  # the kernel repeats a protocol: IcmpMsg, 16 types at a time
        expected.setdefault(protocol, {}).update(values)
    assert mib_tables.parse_mib_pairs(text) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Tcp: A B\n", 2),
        ("Tcp: A B\nUdp: 1 2\n", 2),
        ("Tcp: A\nTcp: 1\nUdp: A B\nUdp: 1\n", 4),
        ("Tcp: A\nTcp: 1\nUdp: A B\nUdp: 1 2 3\n", 4),
        ("Tcp: A\nTcp: one\n", 2),
    ],
)
def test_a_malformed_mib_table_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(MalformedTable, match=f"^/proc/7/net/snmp, line {line}: "):
        mib_tables.parse_mib_pairs(text, "/proc/7/net/snmp")


@given(st.text())
def test_no_text_breaks_the_mib_parser(text: str) -> None:
    with contextlib.suppress(MalformedTable):
        mib_tables.parse_mib_pairs(text)


# --- Interfaces


def test_interfaces_are_read_as_the_kernel_counts_them(netns: Namespace) -> None:
    netns.command("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x@é=1")
    netns.command("ip", "link", "set", "eth0", "up")
    netns.command("ip", "link", "set", "x@é=1", "up")
    netns.command("ip", "address", "add", "192.0.2.4/24", "dev", "eth0")
    with netns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"to myself, over lo", ("192.0.2.4", 9))
        sender.sendto(b"to nobody, asked for by ARP", ("192.0.2.5", 9))
    readings = eventually(lambda: _of_one_moment(netns))
    assert readings is not None
    text, truth = readings
    assert truth["lo"].rx_packets > 0
    assert truth["eth0"].tx_packets > 0
    del truth["lo"]
    assert net_dev.parse_net_dev(text) == truth


def _of_one_moment(netns: Namespace) -> tuple[str, dict[str, NetDev]] | None:
    """The table, and what `ip` says; None when the kernel sent something of its own (MLD) between the readings."""
    before = _as_ip_says(netns)
    text = files.read_net(netns.pid, "dev")
    assert text is not None
    return (text, before) if _as_ip_says(netns) == before else None


def _as_ip_says(netns: Namespace) -> dict[str, NetDev]:
    return {
        link["ifname"]: NetDev(
            *(link["stats64"]["rx"][name] for name in ("bytes", "packets", "errors", "dropped")),
            *(link["stats64"]["tx"][name] for name in ("bytes", "packets", "errors", "dropped")),
        )
        for link in json.loads(netns.command("ip", "-json", "-statistics", "link"))
    }


def test_loopback_is_left_out(netns: Namespace) -> None:
    assert net_dev.parse_net_dev(files.read_net(netns.pid, "dev") or "") == {}


def test_a_long_table_is_read_to_its_end(netns: Namespace) -> None:
    numbers = range(50)
    pairs = (f"link add veth{number} type veth peer name peer{number}\n" for number in numbers)
    netns.command("ip", "-batch", "-", stdin="".join(pairs))
    text = files.read_net(netns.pid, "dev") or ""
    names = {f"{end}{number}" for number in numbers for end in ("veth", "peer")}
    assert {line.partition(":")[0].strip() for line in text.splitlines()[2:]} == names | {"lo"}


@given(
    devices=st.dictionaries(interface_names | st.just("lo"), st.lists(counters, min_size=16, max_size=16), max_size=4),
    columns=st.permutations(["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"]),
    space=st.sampled_from(["", " "]),
)
def test_any_net_dev_table_is_read_back(devices: dict[str, list[int]], columns: list[str], space: str) -> None:
    header = f"Inter-|   Receive  |  Transmit\n face |{' '.join(columns)}|{' '.join(columns)}\n"
    rows = (f"{name:>6}:{space}{' '.join(map(str, values))}\n" for name, values in devices.items())
    text = header + "".join(rows)
    wanted = [columns.index(name) for name in ("bytes", "packets", "errs", "drop")]
    expected = {
        name: NetDev(*(values[at] for at in wanted), *(values[8 + at] for at in wanted))
        for name, values in devices.items()
    }
    expected.pop("lo", None)
    assert net_dev.parse_net_dev(text) == expected


HEADER = "Inter-| Receive | Transmit\n face |bytes packets errs drop|bytes packets errs drop\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 2),
        ("Inter-| Receive | Transmit\n", 2),
        ("Inter-| Receive | Transmit\n face |bytes|bytes packets errs drop\n", 2),
        (HEADER + "eth0: 1 2 3 4 5 6 7 8\neth1: 1 2 3\n", 4),
        (HEADER + "eth0: 1 2 3 4 5 6 7 x\n", 3),
        (HEADER + "\n", 3),
    ],
)
def test_a_malformed_net_dev_table_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(MalformedTable, match=f"^/proc/7/net/dev, line {line}: "):
        net_dev.parse_net_dev(text, "/proc/7/net/dev")


@given(st.text() | st.text().map(HEADER.__add__))
def test_no_text_breaks_the_net_dev_parser(text: str) -> None:
    with contextlib.suppress(MalformedTable):
        net_dev.parse_net_dev(text)


# --- Processes


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
    assert files.read_net(child.pid, "dev") is None


def test_a_zombie_is_in_no_namespace(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.netns_of(child.pid) is None
    assert not files.read_net(child.pid, "dev")


def test_no_file_stays_open(netns: Namespace) -> None:
    def open_files() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- of numbers

    before = open_files()
    for pid in (netns.pid, os.getpid()):
        processes.netns_of(pid)
        processes.cgroup_of(pid)
        processes.process_start_ns(pid)
        files.read_net(pid, "dev")
    processes.pids()
    assert open_files() == before


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
