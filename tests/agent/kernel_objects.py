"""What eBPF has in the kernel, asked of bpf(2) and procfs without any code of the agent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

Object: TypeAlias = tuple[str, int]
"""Kind (prog, map, link) and number, which the kernel does not use again soon."""

_KINDS = ("prog", "map", "link")
_ID = re.compile(r"^(prog|map|link)_id:\s+(\d+)$", re.MULTILINE)

_libbpf = ctypes.CDLL("libbpf.so.1")


class _MapInfo(ctypes.Structure):
    """The beginning of struct bpf_map_info (include/uapi/linux/bpf.h); the kernel fills in no more than it is given."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("name", ctypes.c_char * 16),
    )


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


def keys_of_maps(pid: int, name: str) -> list[bytes]:
    """Keys of the entries that are now in the maps of this name (of 15 bytes at most) that a process has open."""
    return [key for kind, number in held_by(pid) if kind == "map" for key in _keys_if_named(number, name)]


def _keys_if_named(number: int, name: str) -> Iterator[bytes]:
    fd = _libbpf.bpf_map_get_fd_by_id(number)
    if fd < 0:  # its process has closed it meanwhile
        return
    try:
        info, size = _MapInfo(), ctypes.c_uint32(ctypes.sizeof(_MapInfo))
        assert _libbpf.bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size)) == 0
        if info.name.decode() == name:
            yield from _keys(fd, info.key_size)
    finally:
        os.close(fd)


def _keys(fd: int, size: int) -> Iterator[bytes]:
    """BPF_MAP_GET_NEXT_KEY goes back to the first key where the one that it was given is deleted: none comes twice."""
    seen = dict[bytes, None]()
    previous, key = None, ctypes.create_string_buffer(size)
    while _libbpf.bpf_map_get_next_key(fd, previous, key) == 0:
        previous = key.raw
        seen[previous] = None
    yield from seen


def _numbers(kind: str) -> Iterator[int]:
    number = ctypes.c_uint32()
    while _libbpf[f"bpf_{kind}_get_next_id"](number, ctypes.byref(number)) == 0:
        yield number.value
