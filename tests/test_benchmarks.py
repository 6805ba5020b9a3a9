"""Benchmarks say what they need, and bear with what others have on the machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.netdev import assign_ids, route_socket
from lab.namespace import Namespace

IP = "Error: not found: ip; install (Debian: apt-get install iproute2)\n"


@pytest.mark.usefixtures("_root")
@pytest.mark.parametrize(
    ("benchmark", "line"),
    [
        *((f"bench.{name}", IP) for name in ("agent", "collection", "flood", "netdev", "processes", "scrape")),
        ("bench", IP),
        ("bench.events", "Error: not found: ip, nft; install (Debian: apt-get install iproute2 nftables)\n"),
        (
            "bench.overhead",
            "Error: not found: ip, sockperf, taskset; install (Debian: apt-get install iproute2 sockperf util-linux)\n",
        ),
    ],
)
def test_a_missing_command_is_named_with_its_package(benchmark: str, line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", benchmark], env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


def test_who_is_not_root_is_told_so() -> None:
    one_of_its_benchmarks = "import os; os.geteuid = lambda: 1000; import bench.netdev; bench.netdev.main()"
    done = subprocess.run([sys.executable, "-c", one_of_its_benchmarks], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1, "Error: needs root: it makes network namespaces, and loads eBPF programs\n"
    )  # fmt: skip


def test_ids_of_foreign_namespaces_stay_theirs(netns: Namespace) -> None:
    with Namespace() as foreign, Namespace() as first, Namespace() as second, netns.run(route_socket) as node:
        [taken] = assign_ids(node, [foreign.pid])
        ids = assign_ids(node, [first.pid, second.pid])
        assert len({taken, *ids}) == 3
        assert assign_ids(node, [first.pid, foreign.pid]) == [ids[0], taken]
