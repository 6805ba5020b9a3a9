"""A network namespace that a process of its own holds, as a container's does."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from lab.settings import settle

P = ParamSpec("P")
T = TypeVar("T")

NAMED_NAMESPACES = Path("/run/netns")
"""Where `ip netns` keeps the names."""

_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1

_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A new network namespace with its loopback up, alive until `close` or the end of the `with` block.

    It is held by one process that does nothing, and by nothing else of ours: no file descriptor and no thread stays in
    it, so that it goes when its process goes. A socket made in it keeps it, wherever that socket is used.
    The calling thread never changes its own namespace.
    """

    def __init__(self, name: str | None = None) -> None:
        """Make the namespace; with a `name` also the entry that `ip netns list` shows.

        Raises OSError (EPERM) where the caller lacks CAP_SYS_ADMIN.
        """
        with contextlib.ExitStack() as undoing:
            self._holder = undoing.enter_context(_in_new_thread(_hold_new_namespace))
            self.inode = self._path.stat().st_ino
            if name is not None:
                undoing.enter_context(_named(self._path, NAMED_NAMESPACES / name))
            self._undoing = undoing.pop_all()

    @property
    def pid(self) -> int:
        """The process that holds the namespace."""
        return self._holder.pid

    @property
    def _path(self) -> Path:
        return Path(f"/proc/{self.pid}/ns/net")

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` returns when a thread calls it that lives in this namespace, for this one call.

        Sockets made and processes started by the call belong to the namespace for as long as they live. `/proc/sys/net`
        is this namespace's for the call; `/proc/net` is not (it is the main thread's): read `proc_net` instead.
        """

        def entered() -> T:
            self._enter()
            return function(*args, **kwargs)

        return _in_new_thread(entered)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that belongs to this namespace."""
        return self.run(socket.socket, family, kind, protocol)

    def command(self, *argv: str, stdin: str = "") -> str:
        """Standard output of a program run in this namespace; raises CalledProcessError if it fails."""
        return self.run(subprocess.run, argv, input=stdin, check=True, text=True, stdout=subprocess.PIPE).stdout

    def sysctl(self, key: str, value: int | str) -> None:
        """Set a kernel parameter of this namespace: `key` is the path under `/proc/sys/net`."""
        self.run((Path("/proc/sys/net") / key).write_text, str(value))

    def proc_net(self, file: str) -> str:
        """Text of `/proc/PID/net/<file>` of this namespace."""
        return Path(f"/proc/{self.pid}/net/{file}").read_text()

    def close(self) -> None:
        """End the process that holds the namespace, and remove its name. Closing twice does nothing more."""
        self._undoing.close()

    def _enter(self) -> None:
        with self._path.open("rb") as namespace:
            _call_libc("setns", namespace.fileno(), _CLONE_NEWNET)

    def __enter__(self) -> Self:
        """Itself: the namespace is there since it was made."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def _in_new_thread(function: Callable[[], T]) -> T:
    """What `function` returns in a thread that may change its namespace, and is back when this returns.

    To be joined is not to be gone: the kernel's part of a thread lives on for a moment, and would hold the namespace.
    """

    def there_and_back() -> T:
        with Path("/proc/thread-self/ns/net").open("rb") as home:
            try:
                return function()
            finally:
                _call_libc("setns", home.fileno(), _CLONE_NEWNET)

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(there_and_back).result()


def _hold_new_namespace() -> subprocess.Popen[bytes]:
    """Take this thread to a new namespace and start there the process that will hold it.

    The process waits for the end of its standard input, which comes with `close` or with the death of the tests.
    """
    _call_libc("unshare", _CLONE_NEWNET)
    settle()
    _bring_loopback_up()
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


def _bring_loopback_up() -> None:
    """As `ip link set lo up` does, without the cost of a process (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def _call_libc(function: str, *args: int) -> None:
    """Call by way of ctypes: `os.setns` and `os.unshare` came with Python 3.12."""
    if _libc[function](*args) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{function}: {os.strerror(error)}")


@contextlib.contextmanager
def _named(namespace: Path, name: Path) -> Iterator[None]:
    """What `ip netns attach` does, but for the remount of the directory that this leaves behind."""
    name.parent.mkdir(exist_ok=True)
    name.touch(exist_ok=False)
    subprocess.run(["mount", "--bind", namespace, name], check=True)
    yield
    subprocess.run(["umount", name], check=True)
    name.unlink()
    with contextlib.suppress(OSError):  # in use by others, or a mount of theirs
        name.parent.rmdir()
