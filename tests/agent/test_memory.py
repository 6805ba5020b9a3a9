"""Memory that is freed goes back to the kernel, also what lies between blocks that are still in use."""

from __future__ import annotations

import re
import subprocess
import sys

ROUNDS = """
import ctypes, sys
from otel_netagent.agent.memory import give_back_freed_memory
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


def megabytes_in_use(program: str, *arguments: str) -> list[int]:
    """What the program says of itself, each time that it prints its status."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], check=True, text=True, stdout=subprocess.PIPE)
    return [int(found) // 1024 for found in re.findall(r"^RssAnon:\s+(\d+) kB$", done.stdout, re.MULTILINE)]


def in_use(*arguments: str) -> int:
    """Megabytes that are left of 40, by a process that frees them one by one."""
    (megabytes,) = megabytes_in_use(ROUNDS, *arguments)
    return megabytes


BETWEEN = """
import ctypes
from otel_netagent.agent.memory import give_back_freed_memory, give_back_what_is_between
give_back_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
blocks = [libc.malloc(64 << 10) for _ in range(640)]
for block in blocks:
    libc.memset(block, 1, 64 << 10)
for block in blocks[:-1]:  # the last one keeps what is below it
    libc.free(block)
print(open("/proc/self/status").read())
give_back_what_is_between()
print(open("/proc/self/status").read())
"""


def test_what_is_free_below_a_block_in_use_is_given_back_when_asked_for() -> None:
    before, after = megabytes_in_use(BETWEEN)
    assert before - after >= 38


def test_large_blocks_are_given_back_as_they_are_freed() -> None:
    assert in_use() - in_use("giving") >= 38


SEARCH = """
import gc
from otel_netagent.agent.memory import search_less_for_garbage
there = [[number] for number in range(100_000)]
search_less_for_garbage()
print(gc.get_freeze_count() > 100_000, gc.get_threshold()[0])
"""


def test_what_is_there_at_the_start_is_searched_no_more() -> None:
    done = subprocess.run([sys.executable, "-c", SEARCH], check=True, text=True, stdout=subprocess.PIPE)
    assert done.stdout.split() == ["True", "10000"]
