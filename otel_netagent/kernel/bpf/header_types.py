"""Types of a kernel without BTF, from its headers: compiled once by BCC, then kept in a file.

To libbpf the file is as good as any with the kernel's BTF: it fits the same compiled programs to this kernel, and all
above does not know the difference.
"""

from __future__ import annotations

import hashlib
import platform
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from otel_netagent.kernel.bpf import header_compiler, libbpf
from otel_netagent.kernel.bpf.btf_source import BtfNotFound, BtfSource

CACHE: Final = Path("/var/cache/otel-netagent")
"""Where the files are kept, 90 kB for each kernel."""

_TIMEOUT_S: Final = 600
"""Compiling takes 5 s of CPU time, and a minute in the slowest machine known, an emulated one."""

_NO_HEADERS: Final = "Unable to find kernel headers"
_COMPILER_ERROR: Final = re.compile(r"error: .*")


def from_headers(cache: Path = CACHE) -> BtfSource:
    """Types by the running kernel's headers, compiled unless they are kept. Raises BtfNotFound or LibbpfMissing."""
    path = cache / _name()
    if not path.is_file():
        libbpf.load()  # without which there is no use in compiling
        _compile(path)
    return BtfSource(path, in_kernel=False)


def _name() -> str:
    """Of its own for each build of a kernel, and for each version of our source."""
    content = header_compiler.SOURCE.read_bytes() + platform.version().encode()
    return f"{platform.release()}-{hashlib.sha256(content).hexdigest()[:16]}.btf"


def _compile(path: Path) -> None:
    """Have another process write the file; it appears whole or not at all. Raises BtfNotFound."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as directory:
            unfinished = Path(directory) / path.name
            _run_compiler(unfinished)
            unfinished.rename(path)
    except OSError as error:
        raise _no_types(f"{path.parent}: {error.strerror}; let it be a directory that can be written to") from None


def _run_compiler(target: Path) -> None:
    command = (sys.executable, "-P", "-m", header_compiler.__name__, target)
    try:
        # S603: the interpreter that runs us, and a path of our own making.
        done = subprocess.run(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # BCC complains on either
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise _no_types(f"BCC has not compiled them within {_TIMEOUT_S} s") from None
    if done.returncode:
        raise _no_types(_reason(done.returncode, done.stdout))


def _reason(status: int, said: str) -> str:
    """Why the compiling process failed, and what to do, from its exit status and what it said."""
    if status == header_compiler.BCC_MISSING:
        return "BCC is missing, which compiles them; install python3-bpfcc (Fedora and its kin: python3-bcc)"
    if status == -signal.SIGKILL:
        return "the process that compiles them was killed; allow it 300 MB of memory"
    if _NO_HEADERS in said:
        return (
            f"they are not at /lib/modules/{platform.release()}/build; install linux-headers-{platform.release()} "
            f"(Fedora and its kin: kernel-devel-{platform.release()})"
        )
    if found := _COMPILER_ERROR.search(said):
        return f"{found[0]} (a BCC that is older than the kernel may not be able to compile its headers)"
    return (said.splitlines() or [f"BCC: exit status {status}"])[-1]


def _no_types(reason: str) -> BtfNotFound:
    return BtfNotFound(f"no BTF for kernel {platform.release()}, and none can be made from its headers: {reason}")
