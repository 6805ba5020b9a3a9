"""The names that `ip netns` gave are read, and nothing else that lies beside them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.namespace import NAMED_NAMESPACES, Namespace
from otel_netagent.identity import netns_names


@pytest.fixture
def name() -> str:
    return f"netagent-test-{os.getpid()}"


def test_a_name_is_found_by_inode(name: str) -> None:
    with Namespace(name) as named, Namespace() as nameless:
        names = netns_names.by_netns()
        assert names[named.inode] == name
        assert nameless.inode not in names


def test_a_name_is_found_while_no_process_is_in_the_namespace(name: str) -> None:
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        assert name in netns_names.by_netns().values()
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    assert name not in netns_names.by_netns().values()


def test_a_file_that_is_no_namespace_is_ignored(name: str) -> None:
    NAMED_NAMESPACES.mkdir(exist_ok=True)
    stale = NAMED_NAMESPACES / name
    stale.touch()
    try:
        assert stale.stat().st_ino not in netns_names.by_netns()
        assert name not in netns_names.by_netns().values()
    finally:
        stale.unlink()


def test_of_several_names_it_is_the_first(netns: Namespace, tmp_path: Path) -> None:
    for alias in ("b", "a", "c"):
        (tmp_path / alias).symlink_to(f"/proc/{netns.pid}/ns/net")
    (tmp_path / "dangling").symlink_to("/nowhere")
    assert netns_names.by_netns(tmp_path) == {netns.inode: "a"}


def test_a_name_of_any_bytes_becomes_text(netns: Namespace, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).symlink_to(f"/proc/{netns.pid}/ns/net")
    assert netns_names.by_netns(tmp_path) == {netns.inode: "caf�"}


def test_no_directory_is_no_names(tmp_path: Path) -> None:
    assert netns_names.by_netns(tmp_path / "missing") == {}
