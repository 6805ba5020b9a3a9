"""A namespace is new, held by one process only, and goes without a trace; the tests' own never changes."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.links import joined_pair
from lab.namespace import NAMED_NAMESPACES, Namespace
from lab.waiting import eventually

pytestmark = pytest.mark.usefixtures("netns")  # asserts that root runs the tests


def _namespace_of(thread: int) -> int:
    return Path(f"/proc/self/task/{thread}/ns/net").stat().st_ino


def _descriptors() -> set[str]:
    return {f"{fd.name} {fd.readlink()}" for fd in Path("/proc/self/fd").iterdir() if fd.exists()}


def _host_settings() -> Iterator[tuple[str, str]]:
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/conf/all/rp_filter", "ipv4/ipfrag_time"):
        yield name, (Path("/proc/sys/net") / name).read_text()


def test_is_new_and_held_by_its_process(netns: Namespace) -> None:
    assert netns.inode != _namespace_of(threading.main_thread().native_id or 0)
    assert Path(f"/proc/{netns.pid}/ns/net").stat().st_ino == netns.inode


def test_loopback_is_up_and_alone(netns: Namespace) -> None:
    assert netns.command("ip", "-brief", "link").split()[:2] == ["lo", "UNKNOWN"]
    with (
        netns.socket(socket.AF_INET6, socket.SOCK_DGRAM) as reader,
        netns.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender,
    ):
        reader.bind(("::1", 0))
        sender.sendto(b"hello", reader.getsockname())
        assert reader.recv(10) == b"hello"


def test_run_leaves_no_thread_inside(netns: Namespace) -> None:
    def where() -> int:
        return _namespace_of(threading.get_native_id())

    assert netns.run(where) == netns.inode
    assert netns.inode not in {_namespace_of(int(task.name)) for task in Path("/proc/self/task").iterdir()}


def test_run_passes_arguments_and_errors(netns: Namespace) -> None:
    assert netns.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        netns.run(divmod, 7, 0)


def test_settings_are_its_own(netns: Namespace) -> None:
    before = dict(_host_settings())
    for name in before:
        netns.sysctl(name, 1)
        assert netns.command("cat", f"/proc/sys/net/{name}") == "1\n"
    assert dict(_host_settings()) == before


def test_close_ends_the_process_and_frees_everything() -> None:
    before = _descriptors()
    namespace = Namespace()
    pid = namespace.pid
    namespace.close()
    namespace.close()
    assert not Path(f"/proc/{pid}").exists()
    assert _descriptors() == before


def test_death_of_the_holder_is_enough_to_end_it() -> None:
    with joined_pair() as pair:
        assert pair.client.device in pair.client.namespace.proc_net("dev")
        os.kill(pair.server.namespace.pid, 9)
        eventually(lambda: pair.client.device not in pair.client.namespace.proc_net("dev"))


def test_socket_keeps_the_namespace_after_its_process(netns: Namespace) -> None:
    with netns.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        netns.close()
        with pytest.raises(FileNotFoundError):
            netns.run(os.getpid)
        assert listener.getsockname()[0] == "127.0.0.1"


def test_name_is_that_of_ip_netns() -> None:
    name = f"lab-{os.getpid()}"
    with Namespace(name) as namespace:
        listed = namespace.command("ip", "netns", "identify", str(namespace.pid))
        assert listed.strip() == name
        assert (NAMED_NAMESPACES / name).stat().st_ino == namespace.inode
    assert not (NAMED_NAMESPACES / name).exists()
    assert name not in Path("/proc/self/mounts").read_text()


def test_name_in_use_is_refused_without_harm() -> None:
    name = f"lab-{os.getpid()}"
    with Namespace(name) as namespace:
        with pytest.raises(FileExistsError):
            Namespace(name)
        assert (NAMED_NAMESPACES / name).stat().st_ino == namespace.inode
