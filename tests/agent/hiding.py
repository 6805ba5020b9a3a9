"""A machine that lacks something: the command in a mount namespace where other files lie over the real ones."""

from __future__ import annotations

import ctypes
import platform
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from otel_netagent.pipeline.kernel_access import OBJECTS
from tests.agent.command import NETAGENT

Covers = Mapping[Path, Path]
"""What lies over each file or directory."""


def command_seeing(covers: Covers) -> tuple[str, ...]:
    """`otel-netagent` where these lie over the real ones; the rest of the machine sees nothing of it."""
    mounts = [f"mount --bind {shlex.quote(str(cover))} {shlex.quote(str(real))}" for real, cover in covers.items()]
    return ("unshare", "--mount", "sh", "-c", " && ".join([*mounts, 'exec "$@"']), "sh", NETAGENT)


def no_btf(scratch: Path) -> Covers:
    """Every directory where the specification looks for BTF is empty."""
    release = platform.release()
    places = ("/sys/kernel/btf", "/boot", "/usr/lib/debug/lib/modules", f"/lib/modules/{release}")
    return {place: _empty_directory(scratch) for place in map(Path, places) if place.is_dir()}


def no_libbpf(scratch: Path) -> Covers:
    """The library is an empty file, which cannot be loaded."""
    ctypes.CDLL("libbpf.so.1")
    mapped = re.search(r"/\S+/libbpf\.so\S*", Path("/proc/self/maps").read_text())
    assert mapped
    return {Path(mapped[0]): _file(scratch, "")}


def no_objects(scratch: Path) -> Covers:
    """The eBPF objects have not been built."""
    return {OBJECTS: _empty_directory(scratch)}


def no_symbols(scratch: Path) -> Covers:
    """As where kernel.kptr_restrict forbids to look (Documentation/admin-guide/sysctl/kernel.rst)."""
    symbols = Path("/proc/kallsyms")
    return {symbols: _file(scratch, re.sub(r"^[0-9a-f]+", _zeros, symbols.read_text(), flags=re.MULTILINE))}


def _zeros(address: re.Match[str]) -> str:
    return "0" * len(address[0])


def _empty_directory(scratch: Path) -> Path:
    directory = scratch / "empty"
    directory.mkdir(exist_ok=True)
    return directory


def _file(scratch: Path, text: str) -> Path:
    file = scratch / "cover"
    file.write_text(text)
    return file
