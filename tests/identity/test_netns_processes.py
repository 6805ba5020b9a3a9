"""One scan finds every process in its namespace."""

from __future__ import annotations

import os
import subprocess

from lab.namespace import Namespace
from otel_netagent.identity import netns_processes


def test_each_process_is_in_its_namespace(netns: Namespace) -> None:
    other = netns.run(subprocess.Popen, ["cat"], stdin=subprocess.PIPE)
    with other:
        found = netns_processes.by_netns()
        assert sorted(found[netns.inode]) == sorted([netns.pid, other.pid])
        own = [netns for netns, pids in found.items() if os.getpid() in pids]
    assert own == [os.stat("/proc/self/ns/net").st_ino]  # noqa: PTH116 -- as plain as it gets


def test_a_namespace_without_a_process_is_not_there(netns: Namespace) -> None:
    netns.close()
    assert netns.inode not in netns_processes.by_netns()
