"""Whether BTF that comes from a file is whole, and the running kernel's: by another's, all that is read is nonsense."""

from __future__ import annotations

import contextlib
import platform
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.btf import Btf, BtfInvalid
from otel_netagent.kernel.bpf.libbpf import BpfError

_BANNER: Final = re.compile(rb"Linux version (\d[^\s\0]*) [^\0\n]*\n")
"""What a kernel calls itself: linux_banner, which /proc/version shows, in every vmlinux (init/version.c)."""

_BLOCK: Final = 1 << 20
_LONGEST_BANNER: Final = 1024

_DATAGRAM: Final = b"otel-netagent"


def confirm(path: Path, btf: Btf, objects: Path) -> None:
    """See whether a file, whose content is `btf`, has the running kernel's types. Raises BtfInvalid where it has not.

    An image names its kernel. Raw BTF has no name: an eBPF program reads by its types what we know already. Where even
    that program cannot run, the file is not rejected: no other program will run, and each says why.
    """
    btf.verify(path)
    if not btf.has_member("sk_buff", "len"):
        raise BtfInvalid(f"{path}: BTF of something else than a kernel: it has no struct sk_buff")
    if (other := _other_kernel(path)) is not None:
        raise _of_another_kernel(path, f"it is of {other}")
    try:
        readings = list(_readings(path, objects))
    except BpfError:
        return
    for reading in readings:
        if reading.found != reading.known:
            raise _of_another_kernel(path, f"by it, {reading.what} is {reading.found}, but is {reading.known}")


class _Reading(NamedTuple):
    """One fact, as it is read by the types of the file, and as it is."""

    what: str
    found: int
    known: int


def _of_another_kernel(path: Path, why: str) -> BtfInvalid:
    return BtfInvalid(
        f"{path}: BTF of another kernel than the running {platform.release()}: {why}. "
        "Put this kernel's own in its place, or remove it"
    )


def _other_kernel(path: Path) -> str | None:
    """Release of the kernel that a file is the image of, where that is not the running one."""
    own = Path("/proc/version").read_bytes()
    release = None
    for banner in _banners(path):
        if banner[0] == own:
            return None
        release = str(banner[1], "ascii", "replace")
    return release


def _banners(path: Path) -> Iterator[re.Match[bytes]]:
    """All of a file, which may be of hundreds of megabytes; one may come twice. Linux 7 has two kinds of its own."""
    with path.open("rb") as file:
        content = b""
        while block := file.read(_BLOCK):
            content = content[-_LONGEST_BANNER:] + block
            yield from _BANNER.finditer(content)


def _readings(path: Path, objects: Path) -> Iterator[_Reading]:
    """Run the program. Raises BpfError where that cannot be."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waiting:
        waiting.bind(("127.0.0.1", 0))
        with contextlib.suppress(OSError):  # loopback is down, or a firewall is against it
            waiting.sendto(_DATAGRAM, waiting.getsockname())
        try:
            found = _found(waiting, path, objects)
        finally:
            # Not left there: what a socket is closed with is dropped, which an agent that runs already would report.
            arrived = _taken_from(waiting)
        port = waiting.getsockname()[1]
    netns = Path("/proc/thread-self/ns/net").stat().st_ino
    yield _Reading("the number of this thread", found["thread"], found["known_thread"])
    yield _Reading("the inode of this network namespace", found["netns"], netns)
    yield _Reading("the port of a socket", found["port"], port)
    yield _Reading("the protocol of a socket", found["protocol"], socket.IPPROTO_UDP)
    if arrived:
        yield _Reading("the length of a packet", found["length"], len(_DATAGRAM))
        yield _Reading("the content of a packet", found["content"], int.from_bytes(_DATAGRAM[:8], sys.byteorder))


def _found(waiting: socket.socket, path: Path, objects: Path) -> dict[str, int]:
    """What the program reads by the types of the file."""
    names = ("thread", "known_thread", "netns", "port", "protocol", "length", "content")
    with BpfObject(objects / "btf_trial.bpf.o", ("try_types",), path) as trial:
        trial.variable("descriptor")[0] = waiting.fileno()
        trial.load()
        trial.run("try_types")
        return {name: trial.variable(name)[0] for name in names}


def _taken_from(waiting: socket.socket) -> bool:
    """Take the datagram; False where none had arrived.

    To be asked behind the program: the kernel moves what is looked at to another queue (reader_queue, net/ipv4/udp.c).
    """
    try:
        return waiting.recv(len(_DATAGRAM), socket.MSG_DONTWAIT) == _DATAGRAM
    except BlockingIOError:
        return False
