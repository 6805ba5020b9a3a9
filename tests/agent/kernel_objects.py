"""What eBPF has in the kernel, asked of bpf(2) and procfs without any code of the agent."""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

Object: TypeAlias = tuple[str, int]
"""Kind (prog, map, link) and number, which the kernel does not use again soon."""

_KINDS = ("prog", "map", "link")
_ID = re.compile(r"^(prog|map|link)_id:\s+(\d+)$", re.MULTILINE)

_libbpf = ctypes.CDLL("libbpf.so.1")


def existing() -> frozenset[Object]:
    """All programs, maps and links of the kernel (BPF_PROG_GET_NEXT_ID and its kin, bpf(2))."""
    return frozenset((kind, number) for kind in _KINDS for number in _numbers(kind))


def held_by(pid: int) -> frozenset[Object]:
    """Those that a process has open (Documentation/filesystems/proc.rst, fdinfo)."""
    found: set[Object] = set()
    with contextlib.suppress(OSError):
        for fd in Path(f"/proc/{pid}/fdinfo").iterdir():
            with contextlib.suppress(OSError):
                found |= {(kind, int(number)) for kind, number in _ID.findall(fd.read_text())}
    return frozenset(found)


def orphans() -> frozenset[Object]:
    """Those that no process has open: pinned, attached for good, or about to be freed by the kernel."""
    there = existing()
    return there.difference(*(held_by(int(each.name)) for each in Path("/proc").glob("[0-9]*")))


def _numbers(kind: str) -> Iterator[int]:
    number = ctypes.c_uint32()
    while _libbpf[f"bpf_{kind}_get_next_id"](number, ctypes.byref(number)) == 0:
        yield number.value
