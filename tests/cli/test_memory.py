"""Memory that is freed goes back to the kernel, also what lies between blocks that are still in use."""

from __future__ import annotations

import re
import subprocess
import sys

ROUNDS = """
import ctypes, sys
from otel_netagent.cli.memory import give_back_freed_memory
if "giving" in sys.argv:
    give_back_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free(libc.malloc(30 << 20))  # from now on glibc takes blocks of up to this size from its heap
blocks = [libc.malloc(size) for _ in range(20) for size in (2 << 20, 4096)]
for block, size in zip(blocks, [2 << 20, 4096] * 20):
    libc.memset(block, 1, size)
for block in blocks[::2]:
    libc.free(block)
print(open("/proc/self/status").read())
"""


def in_use(*arguments: str) -> int:
    """Megabytes that are left of 40, by a process that frees them one by one."""
    done = subprocess.run([sys.executable, "-c", ROUNDS, *arguments], check=True, text=True, stdout=subprocess.PIPE)
    found = re.search(r"^RssAnon:\s+(\d+) kB$", done.stdout, re.MULTILINE)
    assert found is not None
    return int(found[1]) // 1024


def test_large_blocks_are_given_back_as_they_are_freed() -> None:
    assert in_use() - in_use("giving") >= 38
